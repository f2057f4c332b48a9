//! The companions: on a type beside the function, or beside it in its `impl` block. Those that are not written here
//! have files of their own.

use proc_macro2::TokenStream;
use quote::quote;
use syn::Attribute;

use super::body::{call, link, run, serial};
use super::call_site::{call_function, checked_call, failed_function};
use super::direct::track_caller_in_debug;
use super::signature::{input, submit_signature};
use super::{bounded, chunks, future, map, names, on_pool, part_attribute, parts, process, shorten, unsafety};
use crate::plan::{Companions, Plan};
use crate::receiver::Receiver;

// enum add {}
//
// impl add {
//     fn __call() -> CheckedCall { .. }  the call site, and the one place where types are checked
//     pub fn serial(..), submit(..), map(..)
// }
pub(super) fn companion(plan: &Plan, valid: bool) -> TokenStream {
    let function = &plan.function;
    let attributes: Vec<_> = function.attrs.iter().filter_map(shared_attribute).collect();
    // The companions name the function, which is not a use of it.
    let deprecated = function.attrs.iter().any(|attr| attr.path().is_ident("deprecated"));
    let deprecated = deprecated.then(|| quote!(#[allow(deprecated)]));
    let attributes = quote!(#(#attributes)* #deprecated);
    let clippy = quote!(#[allow(clippy::must_use_candidate, clippy::missing_const_for_fn)]);
    let stub = !valid && plan.is_async();
    let call = if runs_in_process(plan, valid) { process::remote(plan) } else { call_function(plan, valid) };
    let items = [
        Some(call),
        failed_function(plan, valid),
        Some(serial(plan, valid)),
        plan.is_async().then(|| future::future(plan, valid)),
        if stub { future::submit_stub(plan) } else { submit(plan, valid) },
        if stub { None } else { Some(map::map(plan, valid)) },
        if valid { on_pool::on_pool(plan) } else { None },
        runs_in_process(plan, valid).then(|| process::task(plan)),
    ];
    let items = items.iter().flatten();
    match &plan.companions {
        Companions::None => quote!(),
        // The `impl` block is the user's, so each item has the attributes.
        Companions::Impl => quote!(#(#attributes #clippy #items)*),
        Companions::Type(name) => {
            let vis = &plan.vis;
            let about = format!("The other ways to call [`{}()`]: `serial`, `submit`, `map` and `on`.", link(plan));
            let named = map::is_named(plan, valid).then(|| map::named(plan, name));
            let named = named.map(|named| quote!(#attributes #named));
            quote! {
                #attributes
                #[doc = #about]
                #[allow(non_camel_case_types)]
                #vis enum #name {}
                #attributes
                #clippy
                impl #name {
                    #(#items)*
                }
                #named
            }
        }
    }
}

/// Whether the emitted calls go to another process. With mistakes no call is made, and those to threads ask for fewer
/// traits.
pub(super) fn runs_in_process(plan: &Plan, valid: bool) -> bool {
    plan.is_process() && valid
}

fn submit(plan: &Plan, valid: bool) -> Option<TokenStream> {
    let Plan { private, function, .. } = plan;
    if !plan.has_submit {
        return None;
    }
    let (vis, unsafety) = (&plan.vis, unsafety(&function.sig));
    let ident = plan.name("submit");
    let about = format!("Queues a call of [`{}()`] and returns a task to join or await.", link(plan));
    let (generics, inputs) = submit_signature(plan);
    let (params, clause) = parts(&generics);
    let values = plan.arguments.iter().map(input);
    let (krate, result) = (&plan.krate, &plan.owned.output);
    let within = plan.options.deadline_or_zero();
    let values = quote!((#(#values,)*));
    // The entries for a queue that may be full, and their arguments.
    let bounded;
    let call = if runs_in_process(plan, valid) {
        let call = process::site_and_remote(plan);
        match &plan.options.cut {
            Some(cut) => {
                let names = names(plan);
                let chunks = chunks::call_in_task(plan, cut);
                bounded = None;
                quote!(#private::submit_chunks_process(#call, #within, #values, |(#(#names,)*)| #chunks))
            }
            None => {
                bounded = Some((bounded::PROCESS, quote!(#call, #within, #values)));
                quote!(#private::submit_process(#call, #within, #values))
            }
        }
    } else {
        let call = checked_call(plan);
        let (call, run) = match plan.receiver {
            // The task holds an `Arc` of the receiver, which the method borrows.
            Some(Receiver::Shared) => (quote!(#call.with_arc_receiver()), run_with_arc(plan, valid)),
            _ => (call, run_in_task(plan, valid)),
        };
        if plan.is_async() {
            bounded = None;
            match within {
                0 => quote!(#private::submit_async(#call, #values, #run)),
                _ => quote!(#private::submit_async_within(#call, #within, #values, #run)),
            }
        } else {
            bounded = Some((bounded::THREADS, quote!(#call, #within, #values, #run)));
            match within {
                0 => quote!(#private::submit(#call, #values, #run)),
                _ => quote!(#private::submit_within(#call, #within, #values, #run)),
            }
        }
    };
    let call = shorten(plan, call);
    let bounded =
        bounded.filter(|_| valid).and_then(|(entries, arguments)| bounded::bounded(plan, entries, &arguments));
    // It blocks while the queue of its pool is full.
    let caller = bounded.as_ref().and_then(|_| track_caller_in_debug(plan));
    Some(quote! {
        #[doc = #about]
        #caller
        #[inline]
        #vis #unsafety fn #ident #params(#(#inputs),*) -> #krate::Task<#result> #clause {
            #call
        }
        #bounded
    })
}

/// The closure that a task runs: the body, or the direct call that cuts its arguments.
fn run_in_task(plan: &Plan, valid: bool) -> TokenStream {
    match plan.options.cut.as_ref().filter(|_| valid) {
        Some(cut) => {
            let (names, chunks) = (names(plan), chunks::call_in_task(plan, cut));
            quote!(|(#(#names,)*)| #chunks)
        }
        None => run(plan),
    }
}

/// As [`run_in_task`], on a receiver behind an `Arc`.
fn run_with_arc(plan: &Plan, valid: bool) -> TokenStream {
    let names = names(plan);
    let this = names.first();
    let cut = plan.options.cut.as_ref().filter(|_| valid);
    let call = cut.map_or_else(|| call(plan), |cut| chunks::call_in_task(plan, cut));
    if plan.is_async() {
        quote!(|(#(#names,)*)| async move { let #this = &*#this; #call.await })
    } else {
        quote!(|(#(#names,)*)| { let #this = &*#this; #call })
    }
}

/// An attribute of the function that its companions have as well.
fn shared_attribute(attr: &Attribute) -> Option<TokenStream> {
    let shared = ["cfg", "allow", "warn", "deny", "forbid", "expect"].iter().any(|name| attr.path().is_ident(name));
    shared.then(|| part_attribute(attr))
}
