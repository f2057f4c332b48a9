//! The function under its own name: it calls a worker and waits.

use proc_macro2::TokenStream;
use quote::quote;

use super::body::run;
use super::call_site::{checked_call, on_timeout};
use super::{block, chunks, future, names, part_attribute, plain_signature, process, values};
use crate::options::Cut;
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
    let (attrs, vis) = (plan.function.attrs.iter().map(part_attribute), &plan.function.vis);
    let sig = plain_signature(plan);
    let values = values(plan);
    let run = run(plan);
    let checked = checked_call(plan);
    let call = match &plan.options.cut {
        _ if plan.is_async() => future::direct(plan),
        None if plan.is_process() => {
            let call = process::site_and_remote(plan);
            match &plan.options.deadline {
                Some((_, nanoseconds)) => quote!(#private::call_process_within(#call, #nanoseconds, (#(#values,)*))),
                None => quote!(#private::call_process(#call, (#(#values,)*))),
            }
        }
        Some(cut) => match &plan.options.deadline {
            Some((_, nanoseconds)) => chunked_within(plan, cut, *nanoseconds),
            None => chunks::call(plan, cut),
        },
        None if plan.options.is_timed() => {
            let on_timeout = on_timeout(plan);
            match &plan.options.deadline {
                Some((_, nanoseconds)) => {
                    quote!(#private::call_within(#checked, #nanoseconds, #on_timeout, (#(#values,)*), #run))
                }
                None => quote!(#private::call_timed(#checked, #on_timeout, (#(#values,)*), #run)),
            }
        }
        None => quote!(#private::call(#checked, (#(#values,)*), #run)),
    };
    let body = block(plan, &call);
    let hidden = hidden_lifetimes(plan);
    let caller = track_caller_in_debug(plan);
    quote!(#hidden #caller #(#attrs)* #vis #sig #body)
}

/// The direct call of a function with chunks and a deadline: a task that cuts its arguments when it starts.
fn chunked_within(plan: &Plan, cut: &Cut, nanoseconds: u64) -> TokenStream {
    let private = &plan.private;
    let (values, names) = (values(plan), names(plan));
    let chunks = chunks::call_as_task(plan, cut);
    let run = quote!(|(#(#names,)*)| #chunks);
    if plan.is_process() {
        let call = process::site_and_remote(plan);
        return quote!(#private::call_chunks_process_within(#call, #nanoseconds, (#(#values,)*), #run));
    }
    let (checked, on_timeout) = (checked_call(plan), on_timeout(plan));
    quote!(#private::call_within(#checked, #nanoseconds, #on_timeout, (#(#values,)*), #run))
}

/// In debug builds the warning about blocked async runtimes names the place of the call.
pub(super) fn track_caller_in_debug(plan: &Plan) -> Option<TokenStream> {
    let function = &plan.function;
    // Neither `main` nor a test may have it.
    let refused = function.sig.ident == "main"
        || function.attrs.iter().any(|attr| {
            attr.path().segments.last().is_some_and(|last| last.ident == "test" || last.ident == "track_caller")
        });
    let warns = cfg!(feature = "tokio") && !plan.is_async() && !refused;
    warns.then(|| quote!(#[cfg_attr(debug_assertions, track_caller)]))
}

/// Denies lifetimes that are hidden in a type's path. They are an error in the companions' signatures anyway, and the
/// lint's message says what to write.
fn hidden_lifetimes(plan: &Plan) -> Option<TokenStream> {
    let types = plan.arguments.iter().map(|argument| &argument.ty).chain([&plan.result]);
    may_hide_lifetimes(types).then(|| quote!(#[deny(elided_lifetimes_in_paths)]))
}
