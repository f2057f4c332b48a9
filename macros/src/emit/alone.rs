//! A function without companions (`companion = none`), as in `impl Trait for` blocks: the body is a closure inside of
//! the function, and the closure is what goes to the worker.

use proc_macro2::{Delimiter, Group, Span, TokenStream};
use quote::quote;
use syn::{FnArg, Ident, Pat, Type};

use super::ending;
use super::site::{late, value, witness};
use crate::plan::Plan;
use crate::types::contains_impl;

// fn area(&self, scale: f64) -> f64 { body }
//
// becomes
//
// fn area(&self, scale: f64) -> f64 {
//     let arguments = (shared::<Self>(), sent::<f64>());
//     let run = whole(move || -> f64 { body });
//     let call = unsafe { Call::new(site, arguments, sent::<f64>()).captured(&run) };
//     call(call, run, |run| run())
// }
pub(super) fn function(plan: &Plan) -> TokenStream {
    let (private, result) = (&plan.private, &plan.result);
    let crate::function::Function { attrs, vis, sig, body } = &plan.function;
    let site = value(plan);
    let inputs = sig.inputs.iter().zip(&plan.arguments);
    let arguments = inputs.map(|(input, argument)| match input {
        FnArg::Typed(typed) if contains_impl(&argument.ty) => match &*typed.pat {
            Pat::Ident(pat) => {
                let ident = &pat.ident;
                quote!(#private::sent_value(&#ident))
            }
            // What has neither a name nor a type of its own cannot be destructured either.
            _ => quote!(#private::sent::<()>()),
        },
        _ => witness(private, &argument.ty),
    });
    let [witnesses, run, proof] = ["witnesses", "run", "proof"].map(|name| Ident::new(name, Span::mixed_site()));
    let (output, result) = match result {
        _ if plan.is_opaque => (quote!(), quote!(#private::sent_result(&#run))),
        Type::Never(_) => (quote!(-> ::core::convert::Infallible), witness(private, &plan.result_named)),
        _ => (quote!(-> #result), witness(private, result)),
    };
    let call = if plan.options.timeout.is_some() {
        let late = late(plan);
        quote!(#private::call_timed(#proof, #late, #run, |run| run()))
    } else {
        quote!(#private::call(#proof, #run, |run| run()))
    };
    let call = ending(plan, &call);
    let code = quote! {
        let #witnesses = (#(#arguments,)*);
        let #run = #private::whole(move || #output #body);
        // All that the closure can hold are the arguments, of which the witnesses speak.
        let #proof = #private::Call::new(#site, #witnesses, #result);
        let #proof = unsafe { #proof.captured(&#run) };
        #call
    };
    // The braces are the user's, as in `block`; what is between them is not.
    let mut block = Group::new(Delimiter::Brace, code);
    block.set_span(body.span());
    quote!(#(#attrs)* #vis #sig #block)
}
