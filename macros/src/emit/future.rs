//! What an `async fn` has in place of a worker's call: a future.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};

use super::body::{call_serial, run};
use super::signature::submit_signature;
use super::site::{know, late};
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
    let know = know(plan);
    match &plan.options.timeout {
        Some(_) => {
            let late = late(plan);
            quote!(#private::call_async_timed(#know, #late, (#(#values,)*), #run).await)
        }
        None => quote!(#private::call_async(#know, (#(#values,)*), #run).await),
    }
}

/// The one place that asks whether the future may go to another thread.
pub(super) fn future(plan: &Plan, valid: bool) -> TokenStream {
    let unsafety = unsafety(&plan.function.sig);
    let name = plan.name("__future");
    let (params, clause) = parts(&plan.named_generics);
    let names = names(plan);
    let types = plan.arguments.iter().map(|argument| &argument.named);
    let result = &plan.result_named;
    let call = call_serial(plan);
    let body = match (valid, is_never(&plan.result)) {
        (false, _) => quote!(::core::future::pending::<#result>()),
        (true, false) => call,
        (true, true) => quote!(async move { #call.await }),
    };
    // The errors are the user's, the edition is ours: since 2024 the future may hold every lifetime there is.
    let place = plan.function.sig.asyncness.map_or_else(Span::call_site, |token| token.span);
    let send = quote_spanned!(Span::call_site().located_at(place)=>
        impl ::core::future::Future<Output = #result> + ::core::marker::Send
    );
    let unused = (!valid).then(|| quote!(#[allow(unused)]));
    quote! {
        #unused
        #unsafety fn #name #params(#(#names: #types),*) -> #send #clause {
            #body
        }
    }
}

/// In place of `submit` in a function with mistakes.
pub(super) fn submit_stub(plan: &Plan) -> Option<TokenStream> {
    let Plan { private, function, .. } = plan;
    if !plan.has_submit {
        return None;
    }
    let (vis, unsafety) = (&plan.vis, unsafety(&function.sig));
    let ident = plan.name("submit");
    let (generics, inputs) = submit_signature(plan);
    let (params, clause) = parts(&generics);
    let result = &plan.result_owned;
    Some(quote! {
        #[allow(unused, missing_docs)]
        #vis #unsafety fn #ident #params(#(#inputs),*) -> #private::Task<#result> #clause {
            ::core::unreachable!()
        }
    })
}
