//! What a function of `kind = "process"` has beside the others: an entry in the program's table, and a way to cross for
//! each of its types.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::Type;
use syn::spanned::Spanned;

use super::body::run;
use super::site::{keep, late, path, value};
use crate::plan::Plan;

// fn __remote() -> Remote<(u32, u32), u32, impl Code<(u32, u32)>, impl Code<u32>> { .. }
// fn __entry() -> &'static Entry { static ENTRY: Entry = ..; &ENTRY }
// fn __serve(serving: &mut Serving<'_>) { Self::__remote().serve(serving) }
pub(super) fn remote(plan: &Plan) -> TokenStream {
    let Plan { private, result_named: result, .. } = plan;
    let [remote, entry, serve] = ["__remote", "__entry", "__serve"].map(|name| plan.path(name));
    let name = plan.function.sig.ident.to_string();
    let types: Vec<_> = plan.arguments.iter().map(|argument| &argument.named).collect();
    let ways = plan.arguments.iter().map(|argument| way(private, &argument.named));
    let result_way = way(private, result);
    let run = run(plan);
    let keep = keep(plan);
    let path = path(plan);
    let late = match &plan.options.timeout {
        Some(_) => {
            let late = late(plan);
            quote!(::core::option::Option::Some(#late))
        }
        None => quote!((&&#private::Probe::<#result>::new()).late()),
    };
    let backoff = plan.options.backoff.as_ref().map_or(0, |(_, nanoseconds)| *nanoseconds);
    let retries = plan.options.retries.as_ref().map(|times| quote!(.retries(#times, #backoff)));
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
            #private::Remote::new(#path, #entry(), (#(#ways,)*), #result_way, #run, #late) #retries
        }
        fn __entry() -> &'static #private::Entry {
            #[#private::linkme::distributed_slice(#private::ENTRIES)]
            #[linkme(crate = #private::linkme)]
            static ENTRY: #private::Entry = #private::Entry::new(
                ::core::concat!(
                    ::core::module_path!(), "::", #name,
                    " of ", ::core::file!(), ":", ::core::line!(), ":", ::core::column!(),
                ),
                #serve,
            );
            &ENTRY
        }
        fn __serve(serving: &mut #private::Serving<'_>) {
            #remote().serve(serving);
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
pub(super) fn proof(plan: &Plan) -> TokenStream {
    let (site, remote) = (value(plan), plan.path("__remote"));
    quote!(#site, #remote())
}

/// `name::map(items)`, from the proof on.
pub(super) fn map_arguments(plan: &Plan) -> TokenStream {
    let proof = proof(plan);
    match plan.arguments.len() {
        1 => quote!(#proof, |item| (item,)),
        _ => quote!(#proof, |items| items),
    }
}
