//! The companions `serial`, `submit` and `map`: on a type beside the function, or beside it in its `impl` block.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::visit_mut::VisitMut;
use syn::{Attribute, parse_quote};

use super::body::{call, link, run, serial};
use super::call_site::{call_function, checked_call, failed_function, on_timeout};
use super::signature::{input, submit_signature};
use super::{bounded, chunks, future, names, on_pool, part_attribute, parts, process, shorten, unsafety};
use crate::plan::{Companions, Plan};
use crate::receiver::Receiver;
use crate::types::CaptureAlso;

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
        if stub { None } else { Some(map(plan, valid)) },
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
            }
        }
    }
}

/// Whether the emitted calls go to another process. With mistakes no call is made, and those to threads ask for fewer
/// traits.
fn runs_in_process(plan: &Plan, valid: bool) -> bool {
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
    Some(quote! {
        #[doc = #about]
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

fn map(plan: &Plan, valid: bool) -> TokenStream {
    let Plan { krate, private, function, .. } = plan;
    // Each item gets the same receiver, unless the items are the receivers.
    let receiver = match (&plan.receiver, &*plan.arguments) {
        (Some(receiver), [this, _, ..]) if receiver.serves_many() => Some((receiver, this)),
        _ => None,
    };
    let types = &plan.named.inputs[usize::from(receiver.is_some())..];
    let (vis, unsafety) = (&plan.vis, unsafety(&function.sig));
    let ident = plan.name("map");
    let about = format!("Runs [`{}()`] on many items; lazy until it is ended.", link(plan));
    let mut generics = plan.named.generics.clone();
    let (items, marker) = (format_ident!("__Items"), format_ident!("__Marker"));
    let item = if let [ty] = types { ty } else { &parse_quote!((#(#types,)*)) };
    generics.params.push(parse_quote!(#items: #krate::Items<#item, #marker>));
    generics.params.push(parse_quote!(#marker));
    if let Some((Receiver::Counted, _)) = receiver {
        generics.make_where_clause().predicates.push(parse_quote!(Self: 'static));
    }
    let mut result = plan.named.output.clone();
    CaptureAlso(vec![items.clone(), marker.clone()]).visit_type_mut(&mut result);
    let names = names(plan);
    let call = call(plan);
    let checked = checked_call(plan);
    let (input, this, checked, pattern, suffix) = match (receiver, names.as_slice()) {
        (Some((_, this)), _) => {
            let (value, ty) = (input(this), &plan.named.inputs[0]);
            (quote!(#value: #ty,), quote!(#value,), checked, quote!((#(#names,)*)), "_on")
        }
        (None, [name]) => (quote!(), quote!(), quote!(#checked.single_argument()), quote!(#name), ""),
        (None, _) => (quote!(), quote!(), checked, quote!((#(#names,)*)), ""),
    };
    let on_timeout = plan.options.timeout.as_ref().filter(|_| valid).map(|_| on_timeout(plan));
    let on_timeout = on_timeout.map(|on_timeout| quote!(#on_timeout,));
    let (map, function, into) = match (plan.is_async(), &on_timeout, receiver) {
        _ if runs_in_process(plan, valid) => ("Map", "Detach", "map"),
        // An iterator is `'static`, so it cannot hold a map that borrows the receiver.
        (false, None, Some((Receiver::Shared, _))) => ("Map", "MapFn", "map"),
        (false, None, _) => ("Map", "Detach", "map"),
        (false, Some(_), _) => ("TimedMap", "Detach", "map_timed"),
        (true, None, _) => ("AsyncMap", "MapFuture", "map_async"),
        (true, Some(_), _) => ("AsyncMap", "MapFuture", "map_async_timed"),
    };
    let (map, function, into) = (format_ident!("{map}"), format_ident!("{function}"), format_ident!("{into}{suffix}"));
    let end = if runs_in_process(plan, valid) {
        let arguments = process::map_arguments(plan);
        quote!(#private::map_process(#arguments, items))
    } else {
        quote!(#private::#into(#checked, #on_timeout #this items, |#pattern| #call))
    };
    let end = shorten(plan, end);
    let (params, clause) = parts(&generics);
    quote! {
        #[doc = #about]
        #vis #unsafety fn #ident #params(#input items: #items) -> #krate::#map<
            #items::Source,
            impl #private::#function<#item, Out = #result>,
            #item,
        > #clause {
            #end
        }
    }
}

/// An attribute of the function that its companions have as well.
fn shared_attribute(attr: &Attribute) -> Option<TokenStream> {
    let shared = ["cfg", "allow", "warn", "deny", "forbid", "expect"].iter().any(|name| attr.path().is_ident(name));
    shared.then(|| part_attribute(attr))
}
