//! What follows from a function and its options: names, arguments, and types in each of the forms that the
//! generated signatures need.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::ext::IdentExt;
use syn::visit_mut::VisitMut;
use syn::{
    Attribute, FnArg, GenericParam, Generics, Ident, Lifetime, Pat, Path, ReturnType, Type, Visibility, WherePredicate,
    parse_quote,
};

use crate::errors::Errors;
use crate::function::Function;
use crate::marks::{WORKER, is_chunk};
use crate::options::{Companion, Kind, Options};
use crate::receiver::{self, Receiver};
use crate::types::{
    MakeStatic, NameImpls, NameLifetimes, captures_all, contains_impl, is_never, mentions, static_bound,
};

/// One argument.
pub(crate) struct Argument {
    /// Its name in generated code.
    pub(crate) ident: Ident,
    /// What the function itself calls it: its name, or `self`.
    pub(crate) value: TokenStream,
    /// Its type as written.
    pub(crate) ty: Type,
    /// With a name for each lifetime and `impl Trait`.
    pub(crate) named: Type,
    /// With `'static` for each lifetime.
    pub(crate) owned: Type,
    /// Whether `chunks` cuts it.
    pub(crate) chunked: bool,
    /// Whether it is `self`.
    pub(crate) is_receiver: bool,
}

/// Where the other ways to call the function stand.
pub(crate) enum Home {
    /// On a type of this name beside it.
    Type(Ident),
    /// Beside it in its `impl` block, with its name before theirs.
    Impl,
    /// Nowhere.
    None,
}

/// Everything `emit` needs.
pub(crate) struct Plan {
    pub(crate) function: Function,
    pub(crate) options: Options,
    pub(crate) home: Home,
    /// The function's visibility, for what stands beside it.
    pub(crate) vis: Visibility,
    /// What stands before the dot in a call of a method: the first argument.
    pub(crate) receiver: Option<Receiver>,
    /// The path of `fanfold::__private`.
    pub(crate) private: Path,
    /// All of the body's arguments but the worker's state.
    pub(crate) arguments: Vec<Argument>,
    /// The place of the worker's state among the body's arguments.
    pub(crate) worker: Option<usize>,
    /// The type of the worker's state, without its `&mut`.
    pub(crate) state: Option<Type>,
    /// The result as written, with its lifetimes named, and with `'static` ones.
    pub(crate) result: Type,
    pub(crate) result_named: Type,
    pub(crate) result_owned: Type,
    /// The function's generics with every lifetime and `impl Trait` as a parameter.
    pub(crate) named_generics: Generics,
    /// The function's generics without lifetimes, all types `'static`.
    pub(crate) owned_generics: Generics,
    /// Whether a part of the result is an `impl Trait`, which has no name.
    pub(crate) is_opaque: bool,
    /// Whether a call can go on when its caller has gone.
    pub(crate) has_submit: bool,
}

impl Plan {
    pub(crate) fn new(mut function: Function, options: Options, errors: &mut Errors) -> Self {
        let any_marked = function.sig.inputs.iter().any(|input| attributes(input).iter().any(is_chunk));
        let home = home(&function, &options);
        let mut lifetimes = NameLifetimes::default();
        let mut impls = NameImpls::default();
        let mut arguments: Vec<Argument> = Vec::new();
        let (mut worker, mut state, mut receiver) = (None, None, None);
        let mut first = true;
        for (index, input) in function.sig.inputs.iter_mut().enumerate() {
            let marked = attributes(input).iter().any(is_chunk);
            for attr in attributes(input).iter().filter(|attr| is_chunk(attr)) {
                if attr.meta.require_path_only().is_err() {
                    errors.at(attr, "`#[chunk]` stands alone: into how many pieces is said by `chunks = N`");
                }
            }
            let is_worker = attributes(input).iter().any(|attr| attr.path().is_ident(WORKER));
            attributes_mut(input).retain(|attr| !is_chunk(attr) && !attr.path().is_ident(WORKER));
            let (ident, value, ty, by_default) = match input {
                FnArg::Receiver(this) => {
                    receiver = Some(receiver::of(this));
                    let (ident, token) =
                        (Ident::new("__self", Span::mixed_site().located_at(this.self_token.span)), this.self_token);
                    (ident, quote!(#token), receiver::ty(this), false)
                }
                FnArg::Typed(argument) if is_worker && worker.is_none() => {
                    worker = Some(index);
                    if let Type::Reference(reference) = &*argument.ty {
                        state = Some((*reference.elem).clone());
                    }
                    continue;
                }
                FnArg::Typed(argument) => {
                    let ident = argument_ident(&argument.pat, index);
                    let by_default = std::mem::take(&mut first);
                    (ident.clone(), quote!(#ident), (*argument.ty).clone(), by_default)
                }
            };
            let mut named = ty.clone();
            lifetimes.visit_type_mut(&mut named);
            impls.visit_type_mut(&mut named);
            let mut owned = ty.clone();
            MakeStatic::default().visit_type_mut(&mut owned);
            let chunked = options.cut.is_some() && if any_marked { marked } else { by_default };
            let is_receiver = matches!(input, FnArg::Receiver(_));
            arguments.push(Argument { ident, value, ty, named, owned, chunked, is_receiver });
        }

        let result: Type = match &function.sig.output {
            ReturnType::Default => parse_quote!(()),
            ReturnType::Type(_, ty) => (**ty).clone(),
        };
        // What is left out in a result is the receiver's lifetime, or else the only one there is.
        let own = receiver.as_ref().and_then(|_| match &arguments.first()?.named {
            Type::Reference(reference) => reference.lifetime.clone(),
            _ => None,
        });
        let only = if lifetimes.found.len() == 1 { lifetimes.found.first().cloned() } else { None };
        let mut result_named = result.clone();
        let elided = own.clone().or(only);
        NameLifetimes { elided, result: true, ..NameLifetimes::default() }.visit_type_mut(&mut result_named);
        let mut result_owned = result.clone();
        MakeStatic::default().visit_type_mut(&mut result_owned);
        let is_opaque = contains_impl(&result);
        let lends = own.is_some_and(|own| captures_all(&result) || mentions(&result_named, &own));

        if is_never(&result) {
            let infallible: Type = parse_quote!(::core::convert::Infallible);
            (result_named, result_owned) = (infallible.clone(), infallible);
        }

        let generics = &function.sig.generics;
        let crate_path = options.krate.clone().unwrap_or_else(|| parse_quote!(::fanfold));
        Self {
            home,
            vis: visibility(&function.vis),
            private: parse_quote!(#crate_path::__private),
            named_generics: named_generics(generics, lifetimes.named, impls.params),
            owned_generics: owned_generics(generics),
            has_submit: receiver.as_ref().is_none_or(Receiver::can_be_kept) && !lends,
            receiver,
            arguments,
            worker,
            state,
            result,
            result_named,
            result_owned,
            is_opaque,
            function,
            options,
        }
    }

    /// The name under which a companion function is defined; those with underscores are not for users.
    pub(crate) fn name(&self, short: &str) -> Ident {
        let function = &self.function.sig.ident;
        let span = Span::call_site().located_at(function.span());
        let function = function.unraw();
        match (&self.home, short.strip_prefix("__")) {
            (Home::Type(_) | Home::None, _) => Ident::new(short, span),
            // In an `impl` of a trait this name is what the error shows, and nothing else of ours is in it. What is `pub`
            // cannot stand there.
            (Home::Impl, Some("call")) if matches!(self.function.vis, Visibility::Inherited) => {
                format_ident!("__{function}_wants_companion_none_in_a_trait", span = span)
            }
            (Home::Impl, Some(short)) => format_ident!("__{function}_{short}", span = span),
            (Home::Impl, None) => format_ident!("{function}_{short}", span = span),
        }
    }

    /// The path of a companion function.
    pub(crate) fn path(&self, short: &str) -> TokenStream {
        let name = self.name(short);
        match &self.home {
            Home::Type(companion) => quote!(#companion::#name),
            Home::Impl | Home::None => quote!(Self::#name),
        }
    }

    /// Type and const parameters for a call of a function with the user's own generics.
    pub(crate) fn turbofish(&self, more: usize) -> TokenStream {
        let mut all: Vec<_> = parameters(&self.function.sig.generics).map(ToTokens::into_token_stream).collect();
        all.extend(std::iter::repeat_n(quote!(_), more));
        if all.is_empty() { quote!() } else { quote!(::<#(#all),*>) }
    }

    /// Whether another process runs the function.
    pub(crate) fn is_process(&self) -> bool {
        matches!(self.options.kind, Some(Kind::Process))
    }

    /// Whether calls are futures.
    pub(crate) fn is_async(&self) -> bool {
        self.function.sig.asyncness.is_some()
    }

    /// How many type parameters stand for `impl Trait`.
    pub(crate) fn impls(&self) -> usize {
        parameters(&self.named_generics).count() - parameters(&self.function.sig.generics).count()
    }
}

/// A parameter's attributes.
pub(crate) fn attributes(input: &FnArg) -> &[Attribute] {
    match input {
        FnArg::Typed(argument) => &argument.attrs,
        FnArg::Receiver(receiver) => &receiver.attrs,
    }
}

pub(crate) fn attributes_mut(input: &mut FnArg) -> &mut Vec<Attribute> {
    match input {
        FnArg::Typed(argument) => &mut argument.attrs,
        FnArg::Receiver(receiver) => &mut receiver.attrs,
    }
}

/// The names of type and const parameters.
fn parameters(generics: &Generics) -> impl Iterator<Item = &Ident> {
    generics.params.iter().filter_map(|param| match param {
        GenericParam::Type(param) => Some(&param.ident),
        GenericParam::Const(param) => Some(&param.ident),
        GenericParam::Lifetime(_) => None,
    })
}

/// A simple name is kept, for documentation; it is invisible to the user's code all the same.
fn argument_ident(pattern: &Pat, index: usize) -> Ident {
    match pattern {
        Pat::Ident(simple) if simple.subpat.is_none() && !simple.ident.to_string().starts_with('_') => {
            let mut ident = simple.ident.clone();
            ident.set_span(Span::mixed_site().located_at(ident.span()));
            ident
        }
        _ => format_ident!("__argument{index}", span = Span::mixed_site()),
    }
}

/// Where the companion functions go: a method and a function that speaks of `Self` are inside an `impl` block.
fn home(function: &Function, options: &Options) -> Home {
    match &options.companion {
        Some(Companion::None(_)) => Home::None,
        Some(Companion::Own(_)) => Home::Impl,
        Some(Companion::Named(name)) if function.sig.receiver().is_none() => Home::Type(companion(name)),
        _ if receiver::is_inside_impl(function) => Home::Impl,
        _ => Home::Type(companion(&function.sig.ident)),
    }
}

/// The companion's name resolves where the user's code stands, but its definition counts as generated, so that
/// lints speak of the function alone.
fn companion(name: &Ident) -> Ident {
    let mut ident = name.clone();
    ident.set_span(Span::call_site().located_at(ident.span()));
    ident
}

/// The function's visibility in code that counts as generated, so that lints on types leave the companion alone even
/// where the function was written by a `macro_rules!` of the user's.
fn visibility(vis: &Visibility) -> Visibility {
    let mut vis = vis.clone();
    match &mut vis {
        Visibility::Public(token) => token.span = Span::call_site().located_at(token.span),
        Visibility::Restricted(vis) => {
            vis.pub_token.span = Span::call_site().located_at(vis.pub_token.span);
        }
        Visibility::Inherited => {}
    }
    vis
}

fn named_generics(generics: &Generics, lifetimes: Vec<Lifetime>, impls: Vec<GenericParam>) -> Generics {
    let mut named = generics.clone();
    for (index, lifetime) in lifetimes.into_iter().enumerate() {
        named.params.insert(index, parse_quote!(#lifetime));
    }
    named.params.extend(impls);
    with_brackets(named)
}

fn owned_generics(generics: &Generics) -> Generics {
    let mut owned = generics.clone();
    owned.params = owned.params.into_iter().filter(|p| !matches!(p, GenericParam::Lifetime(_))).collect();
    if let Some(clause) = &mut owned.where_clause {
        clause.predicates =
            clause.predicates.clone().into_iter().filter(|p| !matches!(p, WherePredicate::Lifetime(_))).collect();
    }
    MakeStatic::default().visit_generics_mut(&mut owned);
    let Generics { params, where_clause, .. } = &mut owned;
    for param in params.iter_mut() {
        let GenericParam::Type(param) = param else { continue };
        // Beside the other bounds, wherever those stand.
        let ident = &param.ident;
        let clause = where_clause.iter_mut().flat_map(|clause| &mut clause.predicates).find_map(|p| match p {
            WherePredicate::Type(p) if matches!(&p.bounded_ty, Type::Path(path) if path.path.is_ident(ident)) => {
                Some(&mut p.bounds)
            }
            _ => None,
        });
        clause.unwrap_or(&mut param.bounds).push(static_bound());
    }
    with_brackets(owned)
}

/// Parameters that were added by hand print only between angle brackets.
fn with_brackets(mut generics: Generics) -> Generics {
    generics.lt_token.get_or_insert_with(Default::default);
    generics.gt_token.get_or_insert_with(Default::default);
    generics
}
