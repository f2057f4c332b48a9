//! A function with `companion = none`, as in `impl Trait for` blocks: its body is a closure, which runs on the worker.

use proc_macro2::{Delimiter, Group, Span, TokenStream};
use quote::quote;
use syn::{FnArg, Ident, Pat, Type};

use super::call_site::{call_site, on_timeout, send_proof};
use super::direct::track_caller_in_debug;
use super::{result_of, shorten};
use crate::plan::Plan;
use crate::types::contains_impl;

// fn area(&self, scale: f64) -> f64 { body }
//
// becomes
//
// fn area(&self, scale: f64) -> f64 {
//     let __proofs = (shared::<Self>(), sent::<f64>());
//     let __body = body(move || -> f64 { body });
//     let __call = CheckedCall::new(call_site, __proofs, sent::<f64>());
//     let __call = unsafe { __call.for_closure(&__body) };
//     call(__call, __body, |__body| __body())
// }
pub(super) fn function(plan: &Plan) -> TokenStream {
    let (private, result) = (&plan.private, &plan.result);
    let crate::function::Function { attrs, vis, sig, body: user_body } = &plan.function;
    let site = call_site(plan);
    let inputs = sig.inputs.iter().zip(&plan.arguments);
    let arguments = inputs.map(|(input, argument)| match input {
        FnArg::Typed(typed) if contains_impl(&argument.ty) => match &*typed.pat {
            Pat::Ident(pat) => {
                let ident = &pat.ident;
                quote!(#private::sent_value(&#ident))
            }
            // A pattern cannot destructure a value whose type has no name, so there is nothing to check.
            _ => quote!(#private::sent::<()>()),
        },
        _ => send_proof(private, &argument.ty),
    });
    let [proofs, body, call] = ["__proofs", "__body", "__call"].map(|name| Ident::new(name, Span::mixed_site()));
    let (output, result) = match result {
        _ if plan.is_opaque => (quote!(), quote!(#private::sent_result(&#body))),
        Type::Never(_) => (quote!(-> ::core::convert::Infallible), send_proof(private, &plan.named.output)),
        _ => (quote!(-> #result), send_proof(private, result)),
    };
    let run = if let Some((_, nanoseconds)) = &plan.options.deadline {
        let on_timeout = on_timeout(plan);
        quote!(#private::call_within(#call, #nanoseconds, #on_timeout, #body, |#body| #body()))
    } else if plan.options.timeout.is_some() {
        let on_timeout = on_timeout(plan);
        quote!(#private::call_timed(#call, #on_timeout, #body, |#body| #body()))
    } else {
        quote!(#private::call(#call, #body, |#body| #body()))
    };
    let run = result_of(plan, &run);
    // SAFETY of the emitted code: the closure can capture nothing but the function's arguments, whose types `proofs`
    // stands for.
    let code = quote! {
        let #proofs = (#(#arguments,)*);
        let #body = #private::body(move || #output #user_body);
        let #call = #private::CheckedCall::new(#site, #proofs, #result);
        let #call = unsafe { #call.for_closure(&#body) };
        #run
    };
    // The braces have the user's span, as in `block`; the code between them has not.
    let mut block = Group::new(Delimiter::Brace, shorten(plan, code));
    block.set_span(user_body.span());
    let caller = track_caller_in_debug(plan);
    quote!(#caller #(#attrs)* #vis #sig #block)
}
