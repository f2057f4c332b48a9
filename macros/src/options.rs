//! The attribute's options, parsed one by one: a mistake in one does not hide those in the next.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Error, Expr, Ident, Lit, LitStr, Path, Token, UnOp};

use crate::errors::Errors;
use crate::suggest::hint;

const KIND: &str = "kind";
const CHUNKS: &str = "chunks";
const CHUNK_SIZE: &str = "chunk_size";
const BY: &str = "by";
const OVERLAP: &str = "overlap";
const REDUCE: &str = "reduce";
const POOL: &str = "pool";
const PROGRESS: &str = "progress";
const COMPANION: &str = "companion";
const CRATE: &str = "crate";
const TIMEOUT: &str = "timeout";
const DEADLINE: &str = "deadline";
const RETRIES: &str = "retries";
const BACKOFF: &str = "backoff";
const INIT: &str = "init";
const ALL: [&str; 15] = [
    KIND, CHUNKS, CHUNK_SIZE, BY, OVERLAP, REDUCE, TIMEOUT, DEADLINE, RETRIES, BACKOFF, INIT, POOL, PROGRESS,
    COMPANION, CRATE,
];
const KINDS: [&str; 4] = ["cpu", "io", "process", "cluster"];
/// The names that other libraries give the number of threads.
const SIZES: [&str; 5] = ["max_workers", "num_threads", "processes", "threads", "workers"];

/// Options of a map, not of the function: their names, and the calls that set them.
const OF_MAPS: [(&str, &str); 7] = [
    ("buffer", "buffer(n)"),
    ("collect", "collect::<Vec<_>>()"),
    ("for_each", "for_each(..)"),
    ("on", "on(&POOL)"),
    ("stream", "stream()"),
    ("sum", "sum::<u64>()"),
    ("unordered", "unordered()"),
];

/// The kind of workers.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Cpu,
    Io,
    Process,
    /// A process function that runs on a cluster where one is set.
    Cluster,
}

impl Kind {
    /// Whether other processes run the functions.
    pub(crate) fn is_process(self) -> bool {
        matches!(self, Self::Process | Self::Cluster)
    }
}

/// How the chunked arguments are cut.
pub(crate) enum Cut {
    Chunks(Expr),
    Size(Expr),
    Auto,
}

/// What makes the state of a worker.
pub(crate) enum Init {
    /// A function without arguments.
    Function(Path),
    /// A call with arguments, such as `connect(URL)`, which each worker evaluates once.
    Call(Expr),
}

/// The option `companion`.
#[derive(Clone)]
pub(crate) enum Companion {
    /// On a type of this name.
    Named(Ident),
    /// In the function's `impl` block: `companion = Self`.
    Own(Ident),
    /// No companions: `companion = none`.
    None(Ident),
}

/// The options of one attribute.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) kind: Option<Kind>,
    pub(crate) kind_token: Option<Expr>,
    pub(crate) cut: Option<Cut>,
    /// The option that sets `cut`, for error messages.
    pub(crate) cut_name: Option<Ident>,
    /// The key columns of the groups, which no piece of a frame divides.
    pub(crate) by: Option<(Ident, Vec<LitStr>)>,
    /// The number of rows that each piece of a frame shares with those before.
    pub(crate) overlap: Option<(Ident, Expr)>,
    pub(crate) reduce: Option<(Ident, Path)>,
    /// In nanoseconds.
    pub(crate) timeout: Option<(Ident, u64)>,
    /// In nanoseconds.
    pub(crate) deadline: Option<(Ident, u64)>,
    pub(crate) retries: Option<Expr>,
    /// The name of the option `retries`, for error messages.
    pub(crate) retries_name: Option<Ident>,
    /// In nanoseconds.
    pub(crate) backoff: Option<(Ident, u64)>,
    pub(crate) init: Option<(Ident, Init)>,
    /// Whether `init` was given, also with a mistake.
    pub(crate) names_init: bool,
    pub(crate) pool: Option<Path>,
    pub(crate) progress: Option<LitStr>,
    pub(crate) companion: Option<Companion>,
    pub(crate) krate: Option<Path>,
}

pub(crate) fn parse(tokens: TokenStream, errors: &mut Errors) -> Options {
    let mut options = Options::default();
    let mut seen: Vec<Ident> = Vec::new();
    let (mut named_kind, mut unclear) = (false, false);
    for option in split_at_commas(tokens) {
        match one.parse2(option) {
            Ok((name, value)) => {
                named_kind |= name == KIND;
                if seen.contains(&name) {
                    errors.at(&name, format_args!("`{name}` is given twice: keep one"));
                }
                if let Err(error) = options.set(&name, &value) {
                    errors.push(error);
                }
                seen.push(name);
            }
            Err(error) => {
                // The option that did not parse may have been the kind.
                unclear = true;
                errors.push(error);
            }
        }
    }
    if !named_kind && !unclear {
        let message = "`#[parallel]` must say what the function does: `kind = \"cpu\"` if it computes, \
                       `kind = \"io\"` if it waits for files, sockets or locks";
        errors.push(Error::new(Span::call_site(), message));
    }
    options
}

/// `name = value`.
fn one(input: ParseStream) -> syn::Result<(Ident, Expr)> {
    let name = input
        .call(Ident::parse_any)
        .map_err(|error| Error::new(error.span(), "an option has a name and a value, such as `kind = \"cpu\"`"))?;
    let known = |name: &Ident| ALL.iter().any(|option| name == option);
    if !known(&name) {
        // The value of an unknown option is not parsed.
        let _: TokenStream = input.parse()?;
        let message = if KINDS.iter().any(|kind| name == kind) {
            format!("`{name}` is a kind: `kind = \"{name}\"`")
        } else if SIZES.iter().any(|size| name == size) {
            format!("unknown option `{name}`: a pool has threads, and a function a pool, `pool = PATH`")
        } else if let Some((_, call)) = OF_MAPS.iter().find(|(method, _)| name == method) {
            format!("`{name}` is said of each map, not of the function: `name::map(items).{call}`")
        } else {
            format!("unknown option `{name}`{}", hint(&name.to_string(), &ALL))
        };
        return Err(Error::new_spanned(name, format!("{message}\nthe options are: {}", ALL.join(", "))));
    }
    if !input.peek(Token![=]) {
        let _: TokenStream = input.parse()?;
        return Err(Error::new_spanned(&name, format!("`{name}` needs a value: `{name} = ..`")));
    }
    input.parse::<Token![=]>()?;
    if input.is_empty() {
        return Err(Error::new_spanned(&name, format!("`{name}` needs a value: `{name} = ..`")));
    }
    let mut value = input.parse()?;
    // A macro's `$kind:literal` is inside a group with invisible delimiters.
    while let Expr::Group(group) = value {
        value = *group.expr;
    }
    if !input.is_empty() {
        return Err(input.error("a comma is missing before this option"));
    }
    Ok((name, value))
}

impl Options {
    /// Whether a call may end without the function's result, which has a place for a `TaskError` then.
    pub(crate) fn is_timed(&self) -> bool {
        self.timeout.is_some() || self.deadline.is_some()
    }

    /// The nanoseconds of `deadline`, or 0.
    pub(crate) fn deadline_or_zero(&self) -> u64 {
        self.deadline.as_ref().map_or(0, |(_, nanoseconds)| *nanoseconds)
    }

    fn set(&mut self, name: &Ident, value: &Expr) -> syn::Result<()> {
        match name.to_string().as_str() {
            KIND => {
                self.kind = Some(kind(value)?);
                self.kind_token = Some(value.clone());
            }
            CHUNKS | CHUNK_SIZE => {
                if let Some(other) = self.cut_name.as_ref().filter(|other| *other != name) {
                    let message = format!("`{name}` and `{other}` contradict each other: keep one");
                    return Err(Error::new_spanned(name, message));
                }
                self.cut_name = Some(name.clone());
                self.cut = Some(cut(name, value)?);
            }
            BY => self.by = Some((name.clone(), keys(value)?)),
            OVERLAP => self.overlap = Some((name.clone(), value.clone())),
            REDUCE => self.reduce = Some((name.clone(), path(name, value, "a function `fn(T, T) -> T`")?)),
            TIMEOUT => self.timeout = Some((name.clone(), duration(name, value)?)),
            DEADLINE => self.deadline = Some((name.clone(), duration(name, value)?)),
            RETRIES => {
                self.retries_name = Some(name.clone());
                self.retries = Some(retries(value)?);
            }
            BACKOFF => self.backoff = Some((name.clone(), duration(name, value)?)),
            INIT => {
                self.names_init = true;
                self.init = Some((name.clone(), init(name, value)?));
            }
            POOL => self.pool = Some(pool(path(name, value, "a `static` of type `fanfold::Pool`")?)?),
            PROGRESS => self.progress = Some(text(name, value, "the bar's label")?),
            COMPANION => {
                let ident = single_name(value).ok_or_else(|| {
                    let message = "`companion` takes a single name without quotes, such as \
                                   `companion = Parse`, or `Self`, or `none`";
                    Error::new_spanned(value, message)
                })?;
                self.companion = Some(match ident.to_string().as_str() {
                    "Self" => Companion::Own(ident.clone()),
                    "none" => Companion::None(ident.clone()),
                    _ => Companion::Named(ident.clone()),
                });
            }
            _ => {
                let path = text(name, value, "the path of fanfold")?;
                let parsed = path.parse();
                let message = "`crate` takes the path of fanfold in quotes, such as \"other::fanfold\"";
                self.krate = Some(parsed.map_err(|_| Error::new_spanned(path, message))?);
            }
        }
        Ok(())
    }
}

/// The single identifier of a path, except `self`.
fn single_name(value: &Expr) -> Option<&Ident> {
    match value {
        Expr::Path(path) if path.qself.is_none() => path.path.get_ident().filter(|name| *name != "self"),
        _ => None,
    }
}

/// `["origin", "destination"]`.
fn keys(value: &Expr) -> syn::Result<Vec<LitStr>> {
    let wrong = || Error::new_spanned(value, "`by` takes columns' names: `by = [\"origin\"]`");
    let Expr::Array(keys) = value else { return Err(wrong()) };
    if keys.elems.is_empty() {
        return Err(Error::new_spanned(value, "groups need at least one column: `by = [\"origin\"]`"));
    }
    keys.elems.iter().map(|key| literal(key).ok_or_else(wrong)).collect()
}

fn kind(value: &Expr) -> syn::Result<Kind> {
    let word = literal(value)
        .ok_or_else(|| Error::new_spanned(value, "`kind` takes a text: `kind = \"cpu\"` or `kind = \"io\"`"))?;
    match word.value().as_str() {
        "cpu" => Ok(Kind::Cpu),
        "io" => Ok(Kind::Io),
        "process" => Ok(Kind::Process),
        "cluster" => Ok(Kind::Cluster),
        other => {
            let message = format!("unknown kind `{other}`{}", hint(&other.to_lowercase(), &KINDS));
            let known = "the kinds are: \"cpu\" (computes), \"io\" (waits), \"process\" (has memory of its own), \
                         \"cluster\" (on other machines where `FANFOLD_CLUSTER` is set)";
            Err(Error::new_spanned(word, format!("{message}\n{known}")))
        }
    }
}

/// `"auto"`, or an expression that is not known to be wrong. Rustc checks its type.
fn cut(name: &Ident, value: &Expr) -> syn::Result<Cut> {
    let auto = name == CHUNKS;
    let takes = if auto { "a number of chunks, or \"auto\"" } else { "a number of items" };
    let bad = |why: String| Err(Error::new_spanned(value, why));
    match value {
        Expr::Lit(lit) => match &lit.lit {
            Lit::Str(text) if auto && text.value() == "auto" => return Ok(Cut::Auto),
            Lit::Int(number) if number.base10_digits() == "0" => {
                let what = if auto { "nothing can be cut into 0 chunks" } else { "a chunk of 0 items would never end" };
                return bad(format!("{what}: `{name}` must be at least 1"));
            }
            Lit::Int(_) => {}
            other => return bad(format!("`{name}` takes {takes}, not `{}`", other.to_token_stream())),
        },
        Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => {
            return bad(format!("`{name}` cannot be negative: it takes {takes}"));
        }
        _ => {}
    }
    Ok(if auto { Cut::Chunks(value.clone()) } else { Cut::Size(value.clone()) })
}

/// An expression that is not known to be a wrong number of retries. Rustc checks its type.
fn retries(value: &Expr) -> syn::Result<Expr> {
    match value {
        Expr::Lit(lit) if !matches!(lit.lit, Lit::Int(_)) => {
            Err(Error::new_spanned(value, format!("`retries` takes a number, not `{}`", value.to_token_stream())))
        }
        Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => {
            Err(Error::new_spanned(value, "`retries` cannot be negative: it is how often to try again"))
        }
        _ => Ok(value.clone()),
    }
}

/// In nanoseconds.
const HOUR: u64 = 3_600_000_000_000;

/// A time such as `"2s"`, in nanoseconds.
fn duration(name: &Ident, value: &Expr) -> syn::Result<u64> {
    let bad = || {
        let message =
            format!("`{name}` takes a time in quotes: a whole number and its unit, such as \"2s\" or \"100ms\"");
        Error::new_spanned(value, format!("{message}\nthe units are: ns, us, ms, s, m, h"))
    };
    let text = literal(value).ok_or_else(bad)?.value();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?);
    if number.is_empty() {
        return Err(bad());
    }
    let unit: u64 = match unit.trim() {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => HOUR,
        _ => return Err(bad()),
    };
    // All are digits, so the parse fails on overflow only.
    let nanoseconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(|| {
        let message = format!("this is too long for `{name}`: it may be \"{}h\" at most, 584 years", u64::MAX / HOUR);
        Error::new_spanned(value, message)
    })?;
    if nanoseconds == 0 && name == TIMEOUT {
        return Err(Error::new_spanned(value, "with a `timeout` of 0 no call could ever end in time"));
    }
    if nanoseconds == 0 && name == DEADLINE {
        return Err(Error::new_spanned(value, "with a `deadline` of 0 no call could ever start in time"));
    }
    Ok(nanoseconds)
}

/// The path of a function, or a call that is evaluated once for each worker.
fn init(name: &Ident, value: &Expr) -> syn::Result<Init> {
    match value {
        Expr::Call(_) | Expr::MethodCall(_) | Expr::Macro(_) => Ok(Init::Call(value.clone())),
        _ => path(name, value, "a function that makes a worker's state").map(Init::Function),
    }
}

fn path(name: &Ident, value: &Expr, what: &str) -> syn::Result<Path> {
    match value {
        Expr::Path(path) if path.qself.is_none() => Ok(path.path.clone()),
        _ => Err(Error::new_spanned(value, format!("`{name}` takes the path of {what}, without quotes"))),
    }
}

/// Refuses the name of a local variable, which rustc would advise to capture by a closure.
fn pool(path: Path) -> syn::Result<Path> {
    match path.get_ident() {
        Some(name) if name.unraw().to_string().starts_with(char::is_lowercase) => {
            let message = format!(
                "`{name}` is the name of a local variable, and `pool` takes the path of a `static`, in upper case: \
                 `static {}: Pool = Pool::io(\"..\")`\nfor a pool that is made at run time, leave `pool` out and call \
                 the function with `name::on(&{name})`",
                name.unraw().to_string().to_uppercase()
            );
            Err(Error::new_spanned(&path, message))
        }
        _ => Ok(path),
    }
}

fn text(name: &Ident, value: &Expr, what: &str) -> syn::Result<LitStr> {
    literal(value).ok_or_else(|| Error::new_spanned(value, format!("`{name}` takes {what} in quotes")))
}

fn literal(value: &Expr) -> Option<LitStr> {
    match value {
        Expr::Lit(lit) => match &lit.lit {
            Lit::Str(text) => Some(text.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// The tokens of each option. Commas inside brackets are in groups, so they do not separate options; nor do those
/// between the bars of a closure, which no option takes but users try.
fn split_at_commas(tokens: TokenStream) -> Vec<TokenStream> {
    let mut options = vec![TokenStream::new()];
    let (mut in_bars, mut after_equals) = (false, false);
    for token in tokens {
        let mark = if let TokenTree::Punct(punct) = &token { Some(punct.as_char()) } else { None };
        in_bars = if mark == Some('|') { !in_bars && after_equals } else { in_bars };
        after_equals = mark == Some('=');
        match (&token, options.last_mut()) {
            (TokenTree::Punct(comma), _) if comma.as_char() == ',' && !in_bars => options.push(TokenStream::new()),
            (_, Some(last)) => last.extend([token]),
            (_, None) => {}
        }
    }
    options.retain(|option| !option.is_empty());
    options
}
