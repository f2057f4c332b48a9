//! Plan: everything that follows from a function and its options, computed once for `emit`.

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

/// One argument of the function, as written.
pub(crate) struct Argument {
    /// The argument's name in generated code.
    pub(crate) ident: Ident,
    /// The argument in the function itself: its name, or `self`.
    pub(crate) value: TokenStream,
    pub(crate) ty: Type,
    /// Whether `chunks` cuts it.
    pub(crate) is_chunked: bool,
    pub(crate) is_receiver: bool,
}

/// The function's generics and types in one form. The worker's state is not among the inputs.
pub(crate) struct Types {
    pub(crate) generics: Generics,
    /// The types of [`Plan::arguments`], in the same order.
    pub(crate) inputs: Vec<Type>,
    pub(crate) output: Type,
}

/// The place of the companion functions.
pub(crate) enum Companions {
    /// On a type of this name beside the function.
    Type(Ident),
    /// Beside the function in its `impl` block, prefixed with its name.
    Impl,
    /// There are none.
    None,
}

/// Everything that `emit` needs.
pub(crate) struct Plan {
    pub(crate) function: Function,
    pub(crate) options: Options,
    pub(crate) companions: Companions,
    /// The function's visibility, for the companions.
    pub(crate) vis: Visibility,
    /// How a method takes `self`, which is the first argument.
    pub(crate) receiver: Option<Receiver>,
    /// The path of `fanfold`.
    pub(crate) krate: Path,
    /// The path of `fanfold::__private`.
    pub(crate) private: Path,
    /// The arguments, without the worker's state.
    pub(crate) arguments: Vec<Argument>,
    /// The index of the worker's state among the function's parameters.
    pub(crate) worker: Option<usize>,
    /// The type of the worker's state, without its `&mut`.
    pub(crate) state: Option<Type>,
    /// The result as written.
    pub(crate) result: Type,
    /// Every lifetime and `impl Trait` is a generic parameter; `!` is `Infallible`.
    pub(crate) named: Types,
    /// Every lifetime is `'static`; `!` is `Infallible`.
    pub(crate) owned: Types,
    /// Whether a part of the result is an `impl Trait`, which no type can name.
    pub(crate) is_opaque: bool,
    /// Whether a call can outlive its caller, so that there is a `submit`.
    pub(crate) has_submit: bool,
}

impl Plan {
    pub(crate) fn new(mut function: Function, options: Options, errors: &mut Errors) -> Self {
        let any_marked = function.sig.inputs.iter().any(|input| attributes(input).iter().any(is_chunk));
        let companions = companions(&function, &options);
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
            let is_chunked = options.cut.is_some() && if any_marked { marked } else { by_default };
            let is_receiver = matches!(input, FnArg::Receiver(_));
            arguments.push(Argument { ident, value, ty, is_chunked, is_receiver });
        }

        let result: Type = match &function.sig.output {
            ReturnType::Default => parse_quote!(()),
            ReturnType::Type(_, ty) => (**ty).clone(),
        };
        let generics = &function.sig.generics;
        let (mut named, elided) = named_types(generics, &arguments, &result, receiver.is_some());
        let lends = elided.is_some_and(|own| captures_all(&result) || mentions(&named.output, &own));
        let mut owned = owned_types(generics, &arguments, &result);
        if is_never(&result) {
            let infallible: Type = parse_quote!(::core::convert::Infallible);
            (named.output, owned.output) = (infallible.clone(), infallible);
        }

        let krate = options.krate.clone().unwrap_or_else(|| parse_quote!(::fanfold));
        Self {
            companions,
            vis: visibility(&function.vis),
            private: parse_quote!(#krate::__private),
            krate,
            has_submit: receiver.as_ref().is_none_or(Receiver::can_be_kept) && !lends,
            receiver,
            arguments,
            worker,
            state,
            is_opaque: contains_impl(&result),
            result,
            named,
            owned,
            function,
            options,
        }
    }

    /// The name of a companion function; one that begins with `__` is hidden from users.
    pub(crate) fn name(&self, short: &str) -> Ident {
        let function = &self.function.sig.ident;
        let span = Span::call_site().located_at(function.span());
        let function = function.unraw();
        match (&self.companions, short.strip_prefix("__")) {
            (Companions::Type(_) | Companions::None, _) => Ident::new(short, span),
            // In an `impl` of a trait rustc's error shows this name and nothing else of ours, so the name says what to
            // do. A function with `pub` cannot stand in such an `impl`.
            (Companions::Impl, Some("call")) if matches!(self.function.vis, Visibility::Inherited) => {
                format_ident!("__{function}_wants_companion_none_in_a_trait", span = span)
            }
            (Companions::Impl, Some(short)) => format_ident!("__{function}_{short}", span = span),
            (Companions::Impl, None) => format_ident!("{function}_{short}", span = span),
        }
    }

    /// The path of a companion function.
    pub(crate) fn path(&self, short: &str) -> TokenStream {
        let name = self.name(short);
        match &self.companions {
            Companions::Type(companion) => quote!(#companion::#name),
            Companions::Impl | Companions::None => quote!(Self::#name),
        }
    }

    /// The function's type and const parameters as a turbofish, followed by `more` inferred ones.
    pub(crate) fn turbofish(&self, more: usize) -> TokenStream {
        let mut all: Vec<_> = parameters(&self.function.sig.generics).map(ToTokens::into_token_stream).collect();
        all.extend(std::iter::repeat_n(quote!(_), more));
        if all.is_empty() { quote!() } else { quote!(::<#(#all),*>) }
    }

    /// Whether another process runs the function.
    pub(crate) fn is_process(&self) -> bool {
        self.options.kind.is_some_and(Kind::is_process)
    }

    /// Whether calls are futures.
    pub(crate) fn is_async(&self) -> bool {
        self.function.sig.asyncness.is_some()
    }

    /// The number of type parameters that stand for an `impl Trait`.
    pub(crate) fn impls(&self) -> usize {
        parameters(&self.named.generics).count() - parameters(&self.function.sig.generics).count()
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

/// An argument's name: the user's where the pattern is a name, for documentation, else `__argument{index}`. Either is
/// hygienic: the user's code cannot see it.
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

/// The place of the companions. A method, and a function that names `Self`, is inside an `impl` block.
fn companions(function: &Function, options: &Options) -> Companions {
    match &options.companion {
        Some(Companion::None(_)) => Companions::None,
        Some(Companion::Own(_)) => Companions::Impl,
        Some(Companion::Named(name)) if function.sig.receiver().is_none() => Companions::Type(companion_name(name)),
        _ if receiver::is_inside_impl(function) => Companions::Impl,
        _ => Companions::Type(companion_name(&function.sig.ident)),
    }
}

/// The companion type's name. It resolves at the call site, but counts as generated code, so that lints report the
/// function alone.
fn companion_name(name: &Ident) -> Ident {
    let mut ident = name.clone();
    ident.set_span(Span::call_site().located_at(ident.span()));
    ident
}

/// The function's visibility as generated code, so that lints on types skip the companion, also in a function that
/// comes from a `macro_rules!`.
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

/// The form of the signature in which each lifetime and `impl Trait` has a name; and the receiver's lifetime, if it is
/// a reference.
fn named_types(
    generics: &Generics,
    arguments: &[Argument],
    result: &Type,
    has_receiver: bool,
) -> (Types, Option<Lifetime>) {
    let mut lifetimes = NameLifetimes::default();
    let mut impls = NameImpls::default();
    let mut named = |argument: &Argument| {
        let mut ty = argument.ty.clone();
        lifetimes.visit_type_mut(&mut ty);
        impls.visit_type_mut(&mut ty);
        ty
    };
    let inputs: Vec<Type> = arguments.iter().map(&mut named).collect();
    // An elided lifetime of a result is the receiver's, else the only one of the arguments.
    let of_receiver = inputs.first().filter(|_| has_receiver).and_then(|ty| match ty {
        Type::Reference(reference) => reference.lifetime.clone(),
        _ => None,
    });
    let only = if lifetimes.found.len() == 1 { lifetimes.found.first().cloned() } else { None };
    let elided = of_receiver.clone().or(only);
    let mut output = result.clone();
    NameLifetimes { elided, result: true, ..NameLifetimes::default() }.visit_type_mut(&mut output);

    let mut generics = generics.clone();
    for (index, lifetime) in lifetimes.named.into_iter().enumerate() {
        generics.params.insert(index, parse_quote!(#lifetime));
    }
    generics.params.extend(impls.params);
    (Types { generics: with_brackets(generics), inputs, output }, of_receiver)
}

/// The form of the signature in which each lifetime is `'static`.
fn owned_types(generics: &Generics, arguments: &[Argument], result: &Type) -> Types {
    let owned = |ty: &Type| {
        let mut ty = ty.clone();
        MakeStatic::default().visit_type_mut(&mut ty);
        ty
    };
    let inputs = arguments.iter().map(|argument| owned(&argument.ty)).collect();
    Types { generics: owned_generics(generics), inputs, output: owned(result) }
}

/// The generics without lifetimes, with a bound `'static` on each type.
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
        // Next to the other bounds, which may stand in the `where` clause.
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

/// Gives generics their angle brackets: without them, parameters that were added by hand are not printed.
fn with_brackets(mut generics: Generics) -> Generics {
    generics.lt_token.get_or_insert_with(Default::default);
    generics.gt_token.get_or_insert_with(Default::default);
    generics
}
