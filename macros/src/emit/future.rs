//! The calls of an `async fn`, whose future is awaited, or polled by a runtime.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};

use super::body::{call_serial, run};
use super::call_site::{checked_call, on_timeout};
use super::signature::submit_signature;
use super::{names, parts, unsafety, values};
use crate::plan::Plan;
use crate::types::is_never;

// async fn fetch(page: u32) -> Page {
//     call_async(fetch::__call(), (page,), |(page,)| fetch::__future(page)).await
// }
pub(super) fn direct(plan: &Plan) -> TokenStream {
    let private = &plan.private;
    let values = values(plan);
    let run = run(plan);
    let checked = checked_call(plan);
    match &plan.options.timeout {
        Some(_) => {
            let on_timeout = on_timeout(plan);
            quote!(#private::call_async_timed(#checked, #on_timeout, (#(#values,)*), #run).await)
        }
        None => quote!(#private::call_async(#checked, (#(#values,)*), #run).await),
    }
}

/// `__future`: the one place that checks that the future is `Send`.
pub(super) fn future(plan: &Plan, valid: bool) -> TokenStream {
    let unsafety = unsafety(&plan.function.sig);
    let name = plan.name("__future");
    let (params, clause) = parts(&plan.named.generics);
    let names = names(plan);
    let (types, result) = (&plan.named.inputs, &plan.named.output);
    let call = call_serial(plan);
    let body = match (valid, is_never(&plan.result)) {
        (false, _) => quote!(::core::future::pending::<#result>()),
        (true, false) => call,
        (true, true) => quote!(async move { #call.await }),
    };
    // Errors point at the user's `async`. The span's edition is this crate's: since 2024 an `impl Trait` captures every
    // lifetime.
    let place = plan.function.sig.asyncness.map_or_else(Span::call_site, |token| token.span);
    let send = quote_spanned!(Span::call_site().located_at(place)=>
        impl ::core::future::Future<Output = #result> + ::core::marker::Send
    );
    let unused = (!valid).then(|| quote!(#[allow(unused)]));
    quote! {
        #unused
        #[doc(hidden)]
        #unsafety fn #name #params(#(#names: #types),*) -> #send #clause {
            #body
        }
    }
}

/// The `submit` of a function with mistakes.
pub(super) fn submit_stub(plan: &Plan) -> Option<TokenStream> {
    let Plan { krate, function, .. } = plan;
    if !plan.has_submit {
        return None;
    }
    let (vis, unsafety) = (&plan.vis, unsafety(&function.sig));
    let ident = plan.name("submit");
    let (generics, inputs) = submit_signature(plan);
    let (params, clause) = parts(&generics);
    let result = &plan.owned.output;
    Some(quote! {
        #[allow(unused, missing_docs)]
        #vis #unsafety fn #ident #params(#(#inputs),*) -> #krate::Task<#result> #clause {
            ::core::unreachable!()
        }
    })
}
