//! `try_submit` and `submit_async`: the function on a pool whose queue may be full.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::Ident;

use super::body::link;
use super::signature::{input_types, submit_signature};
use super::{parts, shorten, unsafety};
use crate::plan::Plan;

/// The runtime's entries for one kind of workers.
#[derive(Clone, Copy)]
pub(super) struct Entries {
    try_submit: &'static str,
    submit_async: &'static str,
}

pub(super) const THREADS: Entries = Entries { try_submit: "try_submit", submit_async: "submit_when_possible" };
pub(super) const PROCESS: Entries =
    Entries { try_submit: "try_submit_process", submit_async: "submit_process_when_possible" };

// fn try_submit(a: u32, b: u32) -> Result<Task<u32>, TrySubmitError<(u32, u32)>> {
//     try_submit(add::__call(), 0, (a, b), |(a, b)| add::serial(a, b))
// }
//
// fn submit_async(a: u32, b: u32) -> impl Future<Output = Task<u32>> {
//     submit_when_possible(add::__call(), 0, (a, b), |(a, b)| add::serial(a, b))
// }
//
// The default pools have no limit, so only functions with a pool of their own have these two.
pub(super) fn bounded(plan: &Plan, entries: Entries, arguments: &TokenStream) -> Option<TokenStream> {
    plan.options.pool.as_ref()?;
    let Plan { krate, private, .. } = plan;
    let (vis, unsafety) = (&plan.vis, unsafety(&plan.function.sig));
    let (generics, inputs) = submit_signature(plan);
    let (params, clause) = parts(&generics);
    let (types, result) = (input_types(plan), &plan.owned.output);
    let [try_ident, async_ident] = ["try_submit", "submit_async"].map(|name| plan.name(name));
    let [try_call, async_call] = [entries.try_submit, entries.submit_async].map(|entry| {
        let entry = Ident::new(entry, Span::call_site());
        shorten(plan, quote!(#private::#entry(#arguments)))
    });
    let about_try = format!(
        "Queues a call of [`{}()`], or gives its arguments back.\n\n# Errors\n\nIf the queue of its pool is full.",
        link(plan)
    );
    let about_async = format!("Queues a call of [`{}()`] once the queue of its pool has a place.", link(plan));
    Some(quote! {
        #[doc = #about_try]
        #[allow(clippy::result_large_err)]
        #vis #unsafety fn #try_ident #params(#(#inputs),*) -> ::core::result::Result<
            #krate::Task<#result>,
            #krate::TrySubmitError<(#(#types,)*)>,
        > #clause {
            #try_call
        }
        #[doc = #about_async]
        #vis #unsafety fn #async_ident #params(
            #(#inputs),*
        ) -> impl ::core::future::Future<Output = #krate::Task<#result>> #clause {
            #async_call
        }
    })
}
