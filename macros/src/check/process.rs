//! Refuses functions of `kind = "process"` that a worker process cannot find or whose values cannot cross.

use quote::ToTokens;
use syn::visit::Visit;
use syn::{GenericArgument, Ident, PathArguments, ReturnType, Type};

use crate::errors::Errors;
use crate::function::Function;
use crate::marks::{WORKER, has, typed};
use crate::options::{Companion, Options};
use crate::types::{borrows, contains_impl};

pub(super) fn check(function: &Function, options: &Options, errors: &mut Errors) {
    let sig = &function.sig;
    if !cfg!(feature = "process")
        && let Some(kind) = &options.kind_token
    {
        let word = kind.to_token_stream();
        errors.at(
            kind,
            format_args!(
                "`kind = {word}` needs the feature `process` of fanfold\nin Cargo.toml: fanfold = {{ version = \"..\", \
                 features = [\"process\"] }}"
            ),
        );
    }
    if let Some(token) = sig.asyncness {
        let message = "an `async fn` only makes a future, and no future can go to another process: remove `async`";
        errors.at(token, message);
    }
    for param in sig.generics.params.iter().filter(|param| !matches!(param, syn::GenericParam::Lifetime(_))) {
        let message = "a worker process finds functions by name, and a generic one is many functions: write one for \
                       each type that you need, which calls the generic one";
        errors.at(param, message);
    }
    for argument in sig.inputs.iter().filter_map(typed).filter(|argument| !has(argument, WORKER)) {
        if contains_impl(&argument.ty) {
            let message =
                "a worker process finds functions by name, and `impl Trait` makes many functions of one: name the type";
            errors.at(&argument.ty, message);
        } else if borrows(&argument.ty) {
            let message =
                "nothing can be lent to another process: take it by value, as `String`, `Vec<T>` or `fanfold::Bytes`";
            errors.at(&argument.ty, message);
        } else if let Some(reference) = reference_in(&argument.ty) {
            let message = "another process cannot see what lies in this one: take it by value, as `String`, `Vec<T>` \
                           or `fanfold::Bytes`";
            errors.at(reference, message);
        }
    }
    not_a_method(function, options, errors);
    let result = result(function);
    if let Some(ty) = result.filter(|ty| contains_impl(ty)) {
        let message = "what comes from another process is read as the type that was written here: name it, as in \
                       `Vec<T>` for an iterator";
        errors.at(ty, message);
    } else if let Some(ty) = result.filter(|ty| borrows(ty)) {
        errors.at(ty, "another process has nothing to lend: return it by value");
    } else if let Some(reference) = result.and_then(reference_in) {
        errors.at(
            reference,
            "what lies in another process cannot be seen here: return it by value, as `String` or `Vec<T>`",
        );
    }
}

/// A worker process finds functions by name, which a method has not.
fn not_a_method(function: &Function, options: &Options, errors: &mut Errors) {
    let sig = &function.sig;
    if let Some(receiver) = sig.receiver() {
        let message = "a worker process finds functions by name, so they stand alone: write a \
                       function that takes the value as an argument";
        errors.at(receiver, message);
    } else if let Some(Companion::None(name)) = &options.companion {
        let message = "a worker process finds the function through the type beside it: remove \
                       `companion = none`\nin an `impl` block, move the function out of it and \
                       call it from there";
        errors.at(name, message);
    } else if let Some(Companion::Own(name)) = &options.companion {
        let message = "a worker process finds functions by name, so they stand alone: move this one \
                       out of the `impl` block, and call it from there";
        errors.at(name, message);
    }
    let inputs = sig.inputs.iter().filter_map(typed).map(|argument| &*argument.ty);
    let mut found: Vec<_> = inputs.chain(result(function)).filter_map(first_self).collect();
    if found.is_empty() && sig.receiver().is_none() {
        found.extend(function.names_in_body().into_iter().find(|name| name == "Self"));
    }
    for name in found {
        let message = "a worker process finds functions by name, so they stand alone: move this one \
                       out of the `impl` block, and write the type's own name";
        errors.at(name, message);
    }
}

fn result(function: &Function) -> Option<&Type> {
    match &function.sig.output {
        ReturnType::Default => None,
        ReturnType::Type(_, ty) => Some(ty),
    }
}

/// The first reference inside the type, looking into tuples and common containers.
fn reference_in(ty: &Type) -> Option<&Type> {
    match ty {
        Type::Reference(_) => Some(ty),
        Type::Paren(inner) => reference_in(&inner.elem),
        Type::Tuple(tuple) => tuple.elems.iter().find_map(reference_in),
        Type::Path(path) => {
            let last = path.path.segments.last()?;
            let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
            let holds = ["Option", "Result", "Vec", "Box"].iter().any(|name| last.ident == name);
            let mut types = arguments.args.iter().filter_map(|argument| match argument {
                GenericArgument::Type(ty) if holds => Some(ty),
                _ => None,
            });
            types.find_map(reference_in)
        }
        _ => None,
    }
}

/// The first `Self` in a type.
fn first_self(ty: &Type) -> Option<Ident> {
    struct Finder(Option<Ident>);
    impl<'ast> Visit<'ast> for Finder {
        fn visit_ident(&mut self, ident: &'ast Ident) {
            if ident == "Self" && self.0.is_none() {
                self.0 = Some(ident.clone());
            }
        }
    }
    let mut finder = Finder(None);
    finder.visit_type(ty);
    finder.0
}
