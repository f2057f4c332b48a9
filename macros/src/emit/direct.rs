//! The function under its own name: it calls a worker and waits.

use proc_macro2::TokenStream;
use quote::quote;

use super::body::run;
use super::site::{know, late};
use super::{block, chunks, divided, future, plain_signature, process, values};
use crate::plan::Plan;
use crate::types::may_hide_lifetimes;

// fn add(a: u32, b: u32) -> u32 { a + b }
//
// becomes
//
// fn add(a: u32, b: u32) -> u32 {
//     call(add::__call(), (a, b), |(a, b)| add::serial(a, b))
// }
pub(super) fn function(plan: &Plan) -> TokenStream {
    let private = &plan.private;
    let (attrs, vis) = (plan.function.attrs.iter().map(divided), &plan.function.vis);
    let sig = plain_signature(plan);
    let values = values(plan);
    let run = run(plan);
    let know = know(plan);
    let call = match &plan.options.cut {
        _ if plan.is_async() => future::direct(plan),
        None if plan.is_process() => {
            let proof = process::proof(plan);
            quote!(#private::call_process(#proof, (#(#values,)*)))
        }
        Some(cut) => chunks::call(plan, cut),
        None if plan.options.timeout.is_some() => {
            let late = late(plan);
            quote!(#private::call_timed(#know, #late, (#(#values,)*), #run))
        }
        None => quote!(#private::call(#know, (#(#values,)*), #run)),
    };
    let body = block(plan, &call);
    let hidden = hidden_lifetimes(plan);
    quote!(#hidden #(#attrs)* #vis #sig #body)
}

/// A lifetime that is hidden in a type is an error in the companions' signatures, in words that do not help: the lint's
/// say what to write.
fn hidden_lifetimes(plan: &Plan) -> Option<TokenStream> {
    let types = plan.arguments.iter().map(|argument| &argument.ty).chain([&plan.result]);
    may_hide_lifetimes(types).then(|| quote!(#[deny(elided_lifetimes_in_paths)]))
}
