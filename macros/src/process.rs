//! What a function of `kind = "process"` has beside the others: an entry in the program's table, and a way to cross for
//! each of its types.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::visit::Visit;
use syn::{Ident, ReturnType, Type};

use crate::check::{WORKER, has, typed};
use crate::emit::{keep, late, names, run};
use crate::errors::Errors;
use crate::function::Function;
use crate::options::Options;
use crate::plan::Plan;
use crate::types::{borrows, contains_impl};

/// What another process cannot be given.
pub(crate) fn check(function: &Function, options: &Options, errors: &mut Errors) {
    let sig = &function.sig;
    if !cfg!(feature = "process")
        && let Some(kind) = &options.kind_token
    {
        let message = "`kind = \"process\"` needs the feature `process` of fanfold\nin Cargo.toml: fanfold = { version = \"..\", features = [\"process\"] }";
        errors.at(kind, message);
    }
    if let Some(token) = sig.asyncness {
        let message = "an `async fn` only makes a future, and no future can go to another process: remove `async`";
        errors.at(token, message);
    }
    for param in sig.generics.params.iter().filter(|param| !matches!(param, syn::GenericParam::Lifetime(_))) {
        let message = "a worker process finds functions by name, and a generic one is many functions: write one for each type that you need, which calls the generic one";
        errors.at(param, message);
    }
    let result = match &sig.output {
        ReturnType::Default => None,
        ReturnType::Type(_, ty) => Some(&**ty),
    };
    for argument in sig.inputs.iter().filter_map(typed).filter(|argument| !has(argument, WORKER)) {
        if contains_impl(&argument.ty) {
            let message =
                "a worker process finds functions by name, and `impl Trait` makes many functions of one: name the type";
            errors.at(&argument.ty, message);
        } else if borrows(&argument.ty) {
            let message =
                "nothing can be lent to another process: take it by value, as `String`, `Vec<T>` or `fanfold::Bytes`";
            errors.at(&argument.ty, message);
        }
    }
    let types = sig.inputs.iter().filter_map(typed).map(|argument| &*argument.ty).chain(result);
    for ty in types {
        let mut finder = FindSelf(None);
        finder.visit_type(ty);
        if let Some(name) = finder.0 {
            errors.at(name, "a worker process finds functions by name, so they stand alone: write the type's own name");
        }
    }
    if let Some(ty) = result.filter(|ty| borrows(ty)) {
        errors.at(ty, "another process has nothing to lend: return it by value");
    }
}

/// The first `Self` of a type.
struct FindSelf(Option<Ident>);

impl<'ast> Visit<'ast> for FindSelf {
    fn visit_ident(&mut self, ident: &'ast Ident) {
        if ident == "Self" && self.0.is_none() {
            self.0 = Some(ident.clone());
        }
    }
}

// fn __remote() -> Remote<(u32, u32), u32, impl Code<(u32, u32)>, impl Code<u32>> { .. }
// fn __entry() -> &'static Entry { static ENTRY: Entry = ..; &ENTRY }
// fn __serve(serving: &mut Serving<'_>) { Self::__remote().serve(serving) }
pub(crate) fn remote(plan: &Plan) -> TokenStream {
    let Plan { companion, private, result_named: result, .. } = plan;
    let name = plan.function.sig.ident.to_string();
    let types: Vec<_> = plan.arguments.iter().map(|argument| &argument.named).collect();
    let ways = plan.arguments.iter().map(|argument| way(private, &argument.named));
    let result_way = way(private, result);
    let run = run(plan, &quote!(Self));
    let keep = keep(plan);
    let late = match &plan.options.timeout {
        Some(_) => {
            let late = late(plan);
            quote!(::core::option::Option::Some(#late))
        }
        None => quote!((&&#private::Probe::<#result>::new()).late()),
    };
    let retries = plan.options.retries.as_ref().map(|times| quote!(.retries(#times)));
    quote! {
        fn __remote() -> #private::Remote<
            (#(#types,)*),
            #result,
            impl #private::Code<(#(#types,)*)>,
            impl #private::Code<#result>,
        > {
            #[allow(unused_imports)]
            use #private::{
                HasNoPlace as _, HasNoSides as _, HasOwnWay as _, HasPlace as _, HasSides as _, MustBeSerde as _,
            };
            #keep
            #private::Remote::new(Self::__NAME, Self::__entry(), (#(#ways,)*), #result_way, #run, #late) #retries
        }
        fn __entry() -> &'static #private::Entry {
            #[#private::linkme::distributed_slice(#private::ENTRIES)]
            #[linkme(crate = #private::linkme)]
            static ENTRY: #private::Entry = #private::Entry::new(
                ::core::concat!(
                    ::core::module_path!(), "::", #name,
                    " of ", ::core::file!(), ":", ::core::line!(), ":", ::core::column!(),
                ),
                #companion::__serve,
            );
            &ENTRY
        }
        fn __serve(serving: &mut #private::Serving<'_>) {
            Self::__remote().serve(serving);
        }
    }
}

/// Asks how a type crosses, where the user wrote it.
fn way(private: &syn::Path, ty: &Type) -> TokenStream {
    let span = Span::mixed_site().located_at(ty.span());
    quote_spanned! {span=>
        {
            let whole = &#private::Probe::<#ty>::new();
            let (value, error) = ((&whole).value(), (&whole).error());
            (&whole).whole((&&value).way(), (&&error).way())
        }
    }
}

/// The first arguments of the runtime's entries.
pub(crate) fn proof(companion: &TokenStream) -> TokenStream {
    quote!(#companion::__site(), #companion::__remote())
}

/// `name::map(items)`, from the proof on.
pub(crate) fn map_arguments(plan: &Plan) -> TokenStream {
    let proof = proof(&quote!(Self));
    match names(plan).len() {
        1 => quote!(#proof, |item| (item,)),
        _ => quote!(#proof, |items| items),
    }
}
