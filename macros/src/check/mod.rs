//! Refuses functions and options that cannot run on a worker, each mistake at its token.

mod process;

use syn::Expr;

use crate::errors::Errors;
use crate::function::Function;
use crate::marks::{CHUNK, WORKER, has, is_chunk, typed};
use crate::options::{Companion, Init, Kind, Options};
use crate::receiver;
use crate::types::{borrows, contains_impl, is_mut_reference};

/// The most arguments a function may have.
const MAX_ARGUMENTS: usize = 16;

pub(crate) fn check(function: &Function, options: &Options, errors: &mut Errors) {
    let sig = &function.sig;
    if let Some(token) = sig.constness {
        errors.at(token, "a `const fn` cannot run on a worker: the compiler may have to call it. Remove `const`");
    }
    if let Some(token) = sig.asyncness
        && !options.kind.is_some_and(Kind::is_process)
    {
        async_function(token, function, options, errors);
    }
    if let Some(abi) = &sig.abi {
        errors.at(abi, "an `extern` function cannot be parallel: call it from a Rust function that is");
    }
    if let Some(variadic) = &sig.variadic {
        errors.at(variadic, "arguments without types cannot be checked: give the function a fixed number of arguments");
    }
    for attr in function.attrs.iter().filter(|attr| attr.path().is_ident("target_feature")) {
        let message = "`#[target_feature]` would not reach the body, which runs on another thread: put it on a \
             function that this one calls";
        errors.at(attr, message);
    }
    track_caller(function, errors);
    if sig.inputs.len() > MAX_ARGUMENTS {
        let message =
            format!("a parallel function takes at most {MAX_ARGUMENTS} arguments: group some of them in a struct");
        errors.at(&sig.inputs[MAX_ARGUMENTS], message);
    }
    if let (Some(_), Some(Companion::Named(name))) = (sig.receiver(), &options.companion) {
        let message = "a method has no room for a type beside it: remove `companion`, and the other ways to call it \
             stand beside it in its `impl` block\nor say `companion = none` for the direct call alone, \
             as in an `impl` of a trait";
        errors.at(name, message);
    }
    if options.kind.is_some_and(Kind::is_process) {
        process::check(function, options, errors);
    }
    without_companion(function, options, errors);
    chunks(function, options, errors);
    worker(function, options, errors);
    timeout(function, options, errors);
    deadline(function, options, errors);
    if let (Some((name, _)), None) = (&options.backoff, &options.retries_name) {
        errors.at(name, "`backoff` is the pause before a retry: add `retries = N`");
    }
}

/// `#[track_caller]` gives Fanfold's own panics the caller's line, but does not reach the body, which a worker calls.
fn track_caller(function: &Function, errors: &mut Errors) {
    if !function.attrs.iter().any(|attr| attr.path().is_ident("track_caller")) {
        return;
    }
    let names = function.names_in_body();
    let mut pairs = names.iter().zip(names.iter().skip(1));
    if let Some((_, caller)) = pairs.find(|(one, next)| *one == "Location" && *next == "caller") {
        let message = "the body's caller is a worker, and `#[track_caller]` does not reach it: take the location as \
             an argument, from a function that calls this one";
        errors.at(caller, message);
    }
}

/// With `companion = none` the body is a closure inside the function, which is called once.
fn without_companion(function: &Function, options: &Options, errors: &mut Errors) {
    // `process::check` refuses `companion = none` itself.
    if !matches!(options.companion, Some(Companion::None(_))) || options.kind.is_some_and(Kind::is_process) {
        return;
    }
    let init = options.init.as_ref().map(|(name, _)| name);
    let named = [init, options.reduce.as_ref().map(|(name, _)| name)];
    let again = named.into_iter().flatten().chain(&options.cut_name).chain(&options.retries_name);
    for name in again {
        let message = format!(
            "`{name}` runs the body more than once, and with `companion = none` it is not a function of its own: \
             annotate a function or a method of the type, and call it from here"
        );
        errors.at(name, message);
    }
    if let Some(token) = function.sig.asyncness {
        let message = "with `companion = none` an `async fn` would be as it is: remove the attribute";
        errors.at(token, message);
    }
}

/// An async function runs on an async runtime, not on a thread of a pool.
fn async_function(token: syn::Token![async], function: &Function, options: &Options, errors: &mut Errors) {
    if let Some(Kind::Cpu) = options.kind {
        let message = "an `async fn` only makes a future, and a worker thread would have nothing to run: remove \
             `async`, or say `kind = \"io\"`";
        errors.at(token, message);
    } else if !cfg!(feature = "tokio") {
        let message = "an `async fn` needs the feature `tokio` of fanfold\nin Cargo.toml: fanfold = { version = \
             \"..\", features = [\"tokio\"] }";
        errors.at(token, message);
    }
    if let Some(name) = &options.cut_name {
        errors
            .at(name, format_args!("`{name}` cuts work for threads, and an `async fn` has none of its own: use `map`"));
    }
    if let Some(path) = &options.pool {
        errors.at(path, "an `async fn` runs on an async runtime, not on a pool: remove `pool`");
    }
    for argument in function.sig.inputs.iter().filter_map(typed) {
        if let Some(attr) = argument.attrs.iter().find(|attr| attr.path().is_ident(WORKER)) {
            let message = "a worker's state belongs to one thread, and a future moves between threads: put it behind \
                 a `static`, or pass an `Arc`";
            errors.at(attr, message);
        }
    }
}

/// The name of an argument whose pattern is a name.
fn simple_name(argument: &syn::PatType) -> Option<&syn::Ident> {
    match &*argument.pat {
        syn::Pat::Ident(pattern) => Some(&pattern.ident),
        _ => None,
    }
}

/// The single names that a call uses as values.
fn values<'a>(expr: &'a Expr, names: &mut Vec<&'a syn::Ident>) {
    match expr {
        Expr::Path(path) => names.extend(path.path.get_ident()),
        Expr::Reference(reference) => values(&reference.expr, names),
        Expr::Try(tried) => values(&tried.expr, names),
        Expr::Field(field) => values(&field.base, names),
        Expr::Call(call) => call.args.iter().for_each(|argument| values(argument, names)),
        Expr::MethodCall(call) => {
            values(&call.receiver, names);
            call.args.iter().for_each(|argument| values(argument, names));
        }
        _ => {}
    }
}

/// `init` and `#[worker]` belong together.
fn worker(function: &Function, options: &Options, errors: &mut Errors) {
    let mut marked = function.sig.inputs.iter().filter_map(typed).filter(|argument| has(argument, WORKER));
    let first = marked.next();
    match (first, &options.init) {
        (Some(argument), None) if !options.names_init => {
            let attr = argument.attrs.iter().find(|attr| attr.path().is_ident(WORKER));
            errors.at(attr, "`#[worker]` marks a worker's own state: say what makes it with `init = path`");
        }
        (None, Some((name, _))) => {
            errors.at(
                name,
                "`init` makes a worker's own state: mark the parameter that gets it, `#[worker] state: &mut State`",
            );
        }
        _ => {}
    }
    if let Some((_, Init::Call(call))) = &options.init {
        let mut used = Vec::new();
        values(call, &mut used);
        let names: Vec<_> = function.sig.inputs.iter().filter_map(typed).filter_map(simple_name).collect();
        for name in used.into_iter().filter(|name| names.contains(name)) {
            let message = format!(
                "`init` makes a state once for each worker, for all its calls, so it cannot use the argument \
                 `{name}`: give it a constant or a `static`, or let the first call fill an `Option`, \
                 with `init = Option::default`"
            );
            errors.at(name, message);
        }
    }
    if let Some(argument) = first {
        if !is_mut_reference(&argument.ty) {
            errors.at(&argument.ty, "a worker's state is lent to each call: its parameter must be a `&mut` reference");
        }
        if has(argument, CHUNK) {
            errors.at(argument, "a worker's state cannot be cut: remove `#[chunk]` or `#[worker]`");
        }
    }
    for argument in marked {
        errors.at(argument, "a worker has one state a function: put both into a struct or a tuple");
    }
}

/// A call that times out stays on its thread, so it must not borrow from its caller.
fn timeout(function: &Function, options: &Options, errors: &mut Errors) {
    let Some((name, _)) = &options.timeout else { return };
    if options.cut_name.is_some() {
        errors.at(
            name,
            "`timeout` and chunks contradict each other: give the time limit to the function that each chunk calls",
        );
    }
    // A future that times out is dropped, so it may borrow.
    if function.sig.asyncness.is_none() {
        owned_arguments(function, "timeout", "a call that runs out of time is left behind on its thread", errors);
    }
}

/// A call that has not started by its deadline is a task, which owns what it is given. The arguments of a process
/// function are owned anyway.
fn deadline(function: &Function, options: &Options, errors: &mut Errors) {
    let is_task = function.sig.asyncness.is_none() && !options.kind.is_some_and(Kind::is_process);
    if options.deadline.is_some() && options.timeout.is_none() && is_task {
        owned_arguments(
            function,
            "deadline",
            "a call that has not started in time is left behind in its queue",
            errors,
        );
    }
}

/// Refuses arguments that borrow.
fn owned_arguments(function: &Function, option: &str, why: &str, errors: &mut Errors) {
    if let Some(receiver) = function.sig.receiver()
        && borrows(&receiver::ty(receiver))
    {
        let message = format!("with `{option}` the receiver must be owned, as {why}: take `self: Arc<Self>`");
        errors.at(receiver, message);
    }
    for argument in function.sig.inputs.iter().filter_map(typed) {
        if !has(argument, WORKER) && borrows(&argument.ty) {
            let message =
                format!("with `{option}` arguments must be owned: {why}, and what it borrows could end before it");
            errors.at(&argument.ty, message);
        }
    }
}

fn by_or_overlap(options: &Options) -> Option<&syn::Ident> {
    let overlap = options.overlap.as_ref().map(|(name, _)| name);
    options.by.as_ref().map(|(name, _)| name).or(overlap)
}

/// Options of chunked frames.
fn frames(options: &Options, marked: usize, errors: &mut Errors) {
    if let (Some(_), Some((name, _))) = (&options.by, &options.overlap) {
        errors.at(name, "`by` and `overlap` contradict each other: groups have no neighbours to see");
    }
    if let (Some((name, _)), Some(_)) = (&options.overlap, &options.reduce) {
        errors.at(name, "an overlap is cut off from each piece's rows, and `reduce` has none: remove one of them");
    }
    if let (Some(name), true) = (by_or_overlap(options), marked > 1) {
        errors.at(name, format_args!("`{name}` cuts one frame: mark one argument `#[chunk]`"));
    }
}

/// Chunked arguments, and the options that need them.
fn chunks(function: &Function, options: &Options, errors: &mut Errors) {
    let sig = &function.sig;
    let arguments: Vec<_> = sig.inputs.iter().filter_map(typed).filter(|argument| !has(argument, WORKER)).collect();
    let marked = |argument: &syn::PatType| has(argument, CHUNK);
    let receiver = sig.receiver();
    let mark_of_receiver = receiver.and_then(|receiver| receiver.attrs.iter().find(|attr| is_chunk(attr)));
    let Some(name) = &options.cut_name else {
        for attr in arguments.iter().flat_map(|argument| &argument.attrs).chain(mark_of_receiver) {
            if is_chunk(attr) {
                errors.at(
                    attr,
                    "`#[chunk]` marks what is cut: say into how many pieces with `chunks = N` or `chunk_size = N`",
                );
            }
        }
        if let Some((name, _)) = &options.reduce {
            errors.at(name, "`reduce` folds the results of chunks: add `chunks = N` or `chunk_size = N`");
        }
        if let Some(name) = by_or_overlap(options) {
            let message = format!("`{name}` says how a frame is cut: add `chunks = N`, or `chunks = \"auto\"`");
            errors.at(name, message);
        }
        return;
    };
    frames(options, arguments.iter().filter(|argument| marked(argument)).count(), errors);
    if let Some(receiver) = receiver
        && mark_of_receiver.is_none()
        && is_mut_reference(&receiver::ty(receiver))
    {
        let message = "chunks run at the same time and cannot share a `&mut self`: take `&self`, or write a function \
             that takes what is to be cut";
        errors.at(receiver, message);
    }
    if arguments.is_empty() && receiver.is_some() && mark_of_receiver.is_none() {
        let message = format!(
            "`{name}` cuts the first argument after `self`, and there is none: write `#[chunk] self` if `Self` is \
             what is to be cut"
        );
        errors.at(name, message);
    } else if arguments.is_empty() && receiver.is_none() {
        let message = format!(
            "there is nothing to cut: `{name}` needs a function with an argument, such as a `Vec`, slice, range or \
             `DataFrame`"
        );
        errors.at(name, message);
    }
    let any_marked = mark_of_receiver.is_some() || arguments.iter().any(|argument| marked(argument));
    for (index, argument) in arguments.iter().enumerate() {
        let chunked = if any_marked { marked(argument) } else { index == 0 };
        if !chunked && is_mut_reference(&argument.ty) {
            let message = "chunks run at the same time and cannot share a `&mut`: mark it `#[chunk]` to cut it as \
                 well, or take it by value";
            errors.at(&argument.ty, message);
        }
        if chunked && contains_impl(&argument.ty) {
            errors.at(&argument.ty, "a chunked argument needs a type with a name, so that it can be cut");
        }
    }
}
