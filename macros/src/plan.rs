//! What follows from a function and its options: names, arguments, and types in each of the forms that the
//! generated signatures need.

use proc_macro2::Span;
use quote::{ToTokens, format_ident, quote};
use syn::visit_mut::VisitMut;
use syn::{Attribute, FnArg, GenericParam, Generics, Ident, Lifetime, Pat, Path, ReturnType, Type, parse_quote};

use crate::check::{CHUNK, WORKER, is_never};
use crate::errors::Errors;
use crate::function::Function;
use crate::options::{Kind, Options};
use crate::types::{MakeStatic, NameImpls, NameLifetimes, contains_impl, static_bound};

/// One argument.
pub(crate) struct Argument {
    /// Its name in generated code.
    pub(crate) ident: Ident,
    /// Its type as written.
    pub(crate) ty: Type,
    /// With a name for each lifetime and `impl Trait`.
    pub(crate) named: Type,
    /// With `'static` for each lifetime.
    pub(crate) owned: Type,
    /// Whether `chunks` cuts it.
    pub(crate) chunked: bool,
}

/// Everything `emit` needs.
pub(crate) struct Plan {
    pub(crate) function: Function,
    pub(crate) options: Options,
    /// The type beside the function.
    pub(crate) companion: Ident,
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
    /// Whether there can be a type beside the function.
    pub(crate) has_companion: bool,
}

impl Plan {
    pub(crate) fn new(mut function: Function, options: Options, errors: &mut Errors) -> Self {
        let any_marked = function.sig.inputs.iter().any(|input| match input {
            FnArg::Typed(argument) => argument.attrs.iter().any(is_chunk),
            FnArg::Receiver(_) => false,
        });
        let mut lifetimes = NameLifetimes::default();
        let mut impls = NameImpls::default();
        let mut arguments: Vec<Argument> = Vec::new();
        let (mut worker, mut state) = (None, None);
        for (index, input) in function.sig.inputs.iter_mut().enumerate() {
            let FnArg::Typed(argument) = input else { continue };
            let marked = argument.attrs.iter().any(is_chunk);
            for attr in argument.attrs.iter().filter(|attr| is_chunk(attr)) {
                if let Err(error) = attr.meta.require_path_only() {
                    errors.push(error);
                }
            }
            let is_worker = argument.attrs.iter().any(|attr| attr.path().is_ident(WORKER));
            argument.attrs.retain(|attr| !is_chunk(attr) && !attr.path().is_ident(WORKER));
            if is_worker && worker.is_none() {
                worker = Some(index);
                if let Type::Reference(reference) = &*argument.ty {
                    state = Some((*reference.elem).clone());
                }
                continue;
            }
            let mut named = (*argument.ty).clone();
            lifetimes.visit_type_mut(&mut named);
            impls.visit_type_mut(&mut named);
            let mut owned = (*argument.ty).clone();
            MakeStatic.visit_type_mut(&mut owned);
            arguments.push(Argument {
                ident: argument_ident(&argument.pat, index),
                ty: (*argument.ty).clone(),
                named,
                owned,
                chunked: options.cut.is_some() && if any_marked { marked } else { arguments.is_empty() },
            });
        }

        let result: Type = match &function.sig.output {
            ReturnType::Default => parse_quote!(()),
            ReturnType::Type(_, ty) => (**ty).clone(),
        };
        let mut result_named = result.clone();
        let one = if lifetimes.found.len() == 1 { lifetimes.found.first().cloned() } else { None };
        let mut in_result = NameLifetimes { elided: one, result: true, ..NameLifetimes::default() };
        in_result.visit_type_mut(&mut result_named);
        let mut result_owned = result.clone();
        MakeStatic.visit_type_mut(&mut result_owned);

        if is_never(&result) {
            let infallible: Type = parse_quote!(::core::convert::Infallible);
            (result_named, result_owned) = (infallible.clone(), infallible);
        }

        let generics = &function.sig.generics;
        let crate_path = options.krate.clone().unwrap_or_else(|| parse_quote!(::fanfold));
        Self {
            companion: companion(&function.sig.ident, &options),
            private: parse_quote!(#crate_path::__private),
            named_generics: named_generics(generics, lifetimes.named, impls.params),
            owned_generics: owned_generics(generics),
            has_companion: function.sig.receiver().is_none()
                && function.sig.variadic.is_none()
                && !contains_impl(&result),
            arguments,
            worker,
            state,
            result,
            result_named,
            result_owned,
            function,
            options,
        }
    }

    /// Type and const parameters for a call of a function with the user's own generics.
    pub(crate) fn turbofish(&self, more: usize) -> proc_macro2::TokenStream {
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

pub(crate) fn is_chunk(attr: &Attribute) -> bool {
    attr.path().is_ident(CHUNK)
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

/// The companion's name resolves where the user's code stands, but its definition counts as generated, so that
/// lints speak of the function alone.
fn companion(function: &Ident, options: &Options) -> Ident {
    let mut ident = options.companion.clone().unwrap_or_else(|| function.clone());
    ident.set_span(Span::call_site().located_at(ident.span()));
    ident
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
            clause.predicates.clone().into_iter().filter(|p| !matches!(p, syn::WherePredicate::Lifetime(_))).collect();
    }
    MakeStatic.visit_generics_mut(&mut owned);
    for param in owned.type_params_mut() {
        param.bounds.push(static_bound());
    }
    with_brackets(owned)
}

/// Parameters that were added by hand print only between angle brackets.
fn with_brackets(mut generics: Generics) -> Generics {
    generics.lt_token.get_or_insert_with(Default::default);
    generics.gt_token.get_or_insert_with(Default::default);
    generics
}
