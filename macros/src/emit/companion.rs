//! The other ways to call the function: on a type beside it, or beside it in its `impl` block.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::visit_mut::VisitMut;
use syn::{Attribute, parse_quote};

use super::body::{call, link, run, serial};
use super::signature::{input, submit_signature};
use super::site::{call_of, failed, know, late};
use super::{divided, future, names, parts, process, unsafety};
use crate::plan::{Home, Plan};
use crate::receiver::Receiver;
use crate::types::CaptureAlso;

// enum add {}
//
// impl add {
//     fn __call() -> Call { .. }  what the runtime is told, and the one place where types are checked
//     pub fn serial(..), submit(..), map(..)
// }
pub(super) fn companion(plan: &Plan, valid: bool) -> TokenStream {
    let function = &plan.function;
    let attributes: Vec<_> = function.attrs.iter().filter_map(shared).collect();
    // Naming the function is no use of it.
    let deprecated = function.attrs.iter().any(|attr| attr.path().is_ident("deprecated"));
    let deprecated = deprecated.then(|| quote!(#[allow(deprecated)]));
    let attributes = quote!(#(#attributes)* #deprecated);
    let clippy = quote!(#[allow(clippy::must_use_candidate, clippy::missing_const_for_fn)]);
    let stub = !valid && plan.is_async();
    let knows = if crosses(plan, valid) { process::remote(plan) } else { call_of(plan, valid) };
    let items = [
        Some(knows),
        failed(plan, valid),
        Some(serial(plan, valid)),
        plan.is_async().then(|| future::future(plan, valid)),
        if stub { future::submit_stub(plan) } else { submit(plan, valid) },
        if stub { None } else { map(plan, valid) },
    ];
    let items = items.iter().flatten();
    match &plan.home {
        Home::None => quote!(),
        // Each item on its own: there is no block of ours to put the attributes on.
        Home::Impl => quote!(#(#attributes #clippy #items)*),
        Home::Type(name) => {
            let vis = &plan.vis;
            let about = format!("The other ways to call [`{}()`]: `serial`, `submit` and `map`.", link(plan));
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

/// Whether the emitted calls go to another process; with mistakes they go nowhere, and threads ask less.
fn crosses(plan: &Plan, valid: bool) -> bool {
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
    let result = &plan.result_owned;
    let call = if crosses(plan, valid) {
        let proof = process::proof(plan);
        quote!(#private::submit_process(#proof, (#(#values,)*)))
    } else {
        let entry = if plan.is_async() { quote!(submit_async) } else { quote!(submit) };
        let know = know(plan);
        let (know, run) = match plan.receiver {
            // The task owns a share of what the method only borrows.
            Some(Receiver::Shared) => (quote!(#know.counted()), run_counted(plan)),
            _ => (know, run(plan)),
        };
        quote!(#private::#entry(#know, (#(#values,)*), #run))
    };
    Some(quote! {
        #[doc = #about]
        #[inline]
        #vis #unsafety fn #ident #params(#(#inputs),*) -> #private::Task<#result> #clause {
            #call
        }
    })
}

/// The closure that runs the body on a shared receiver of its own.
fn run_counted(plan: &Plan) -> TokenStream {
    let names = names(plan);
    let this = names.first();
    let call = call(plan);
    if plan.is_async() {
        quote!(|(#(#names,)*)| async move { let #this = &*#this; #call.await })
    } else {
        quote!(|(#(#names,)*)| { let #this = &*#this; #call })
    }
}

fn map(plan: &Plan, valid: bool) -> Option<TokenStream> {
    let Plan { private, function, .. } = plan;
    // All items are given the receiver, unless they are receivers.
    let receiver = match (&plan.receiver, &*plan.arguments) {
        (_, []) => return None,
        (Some(receiver), [this, _, ..]) if receiver.serves_many() => Some((receiver, this)),
        _ => None,
    };
    let arguments = &plan.arguments[usize::from(receiver.is_some())..];
    let (vis, unsafety) = (&plan.vis, unsafety(&function.sig));
    let ident = plan.name("map");
    let about = format!("Runs [`{}()`] on many items; lazy until it is ended.", link(plan));
    let mut generics = plan.named_generics.clone();
    let (items, marker) = (format_ident!("__Items"), format_ident!("__Marker"));
    let types = arguments.iter().map(|argument| &argument.named);
    let item = if let [argument] = arguments { &argument.named } else { &parse_quote!((#(#types,)*)) };
    generics.params.push(parse_quote!(#items: #private::Items<#item, #marker>));
    generics.params.push(parse_quote!(#marker));
    if let Some((Receiver::Counted, _)) = receiver {
        generics.make_where_clause().predicates.push(parse_quote!(Self: 'static));
    }
    let mut result = plan.result_named.clone();
    CaptureAlso(vec![items.clone(), marker.clone()]).visit_type_mut(&mut result);
    let names = names(plan);
    let call = call(plan);
    let know = know(plan);
    let (input, this, know, pattern, suffix) = match (receiver, names.as_slice()) {
        (Some((_, this)), _) => {
            let (value, ty) = (input(this), &this.named);
            (quote!(#value: #ty,), quote!(#value,), know, quote!((#(#names,)*)), "_on")
        }
        (None, [name]) => (quote!(), quote!(), quote!(#know.single()), quote!(#name), ""),
        (None, _) => (quote!(), quote!(), know, quote!((#(#names,)*)), ""),
    };
    let late = plan.options.timeout.as_ref().filter(|_| valid).map(|_| late(plan)).map(|late| quote!(#late,));
    let (map, function, into) = match (plan.is_async(), &late, receiver) {
        _ if crosses(plan, valid) => ("Map", "Detach", "map"),
        // What only borrows the receiver cannot be left in an iterator.
        (false, None, Some((Receiver::Shared, _))) => ("Map", "MapFn", "map"),
        (false, None, _) => ("Map", "Detach", "map"),
        (false, Some(_), _) => ("TimedMap", "Detach", "map_timed"),
        (true, None, _) => ("AsyncMap", "MapFuture", "map_async"),
        (true, Some(_), _) => ("AsyncMap", "MapFuture", "map_async_timed"),
    };
    let (map, function, into) = (format_ident!("{map}"), format_ident!("{function}"), format_ident!("{into}{suffix}"));
    let end = if crosses(plan, valid) {
        let arguments = process::map_arguments(plan);
        quote!(#private::map_process(#arguments, items))
    } else {
        quote!(#private::#into(#know, #late #this items, |#pattern| #call))
    };
    let (params, clause) = parts(&generics);
    Some(quote! {
        #[doc = #about]
        #vis #unsafety fn #ident #params(#input items: #items) -> #private::#map<
            #items::Source,
            impl #private::#function<#item, Out = #result>,
            #item,
        > #clause {
            #end
        }
    })
}

/// An attribute that the companions share with the function.
fn shared(attr: &Attribute) -> Option<TokenStream> {
    let shared = ["cfg", "allow", "warn", "deny", "forbid", "expect"].iter().any(|name| attr.path().is_ident(name));
    shared.then(|| divided(attr))
}
