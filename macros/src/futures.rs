//! What an `async fn` has in place of a worker's call: a future.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::Safety;

use crate::check::is_never;
use crate::emit::{call_serial, generated, late, names, param_name, parts, run, unsafety};
use crate::plan::Plan;

// async fn fetch(page: u32) -> Page {
//     call_async(fetch::__site(), fetch::__sent(), (page,), |(page,)| fetch::__future(page)).await
// }
pub(crate) fn direct(plan: &Plan) -> TokenStream {
    let Plan { companion, private, .. } = plan;
    let names = names(plan);
    let run = run(plan, &quote!(#companion));
    let impls = plan.turbofish(plan.impls());
    let proof = quote!(#companion::__site(), #companion::__sent #impls());
    match &plan.options.timeout {
        Some(_) => {
            let late = late(plan);
            quote!(#private::call_async_timed(#proof, #late, (#(#names,)*), #run).await)
        }
        None => quote!(#private::call_async(#proof, (#(#names,)*), #run).await),
    }
}

/// The call that makes the future.
pub(crate) fn call(plan: &Plan, companion: &TokenStream) -> TokenStream {
    let names = names(plan);
    let turbofish = plan.turbofish(plan.impls());
    let call = quote!(#companion::__future #turbofish(#(#names),*));
    if let Safety::Unsafe(_) = plan.function.sig.safety { quote!(unsafe { #call }) } else { call }
}

/// The one place that asks whether the future may go to another thread.
pub(crate) fn future(plan: &Plan, valid: bool) -> TokenStream {
    let unsafety = unsafety(&plan.function.sig);
    let (params, clause) = parts(&plan.named_generics);
    let names = names(plan);
    let types = plan.arguments.iter().map(|argument| &argument.named);
    let result = &plan.result_named;
    let captured = plan.named_generics.params.iter().map(param_name);
    let call = call_serial(plan, &quote!(Self));
    let body = match (valid, is_never(&plan.result)) {
        (false, _) => quote!(::core::future::pending::<#result>()),
        (true, false) => call,
        (true, true) => quote!(async move { #call.await }),
    };
    let token = plan.function.sig.asyncness.as_ref();
    let send = quote_spanned!(token.map_or_else(proc_macro2::Span::call_site, |token| token.span)=>
        impl ::core::future::Future<Output = #result> + ::core::marker::Send + use<#(#captured),*>
    );
    let unused = (!valid).then(|| quote!(#[allow(unused)]));
    quote! {
        #unused
        #unsafety fn __future #params(#(#names: #types),*) -> #send #clause {
            #body
        }
    }
}

/// In place of `submit` in a function with mistakes.
pub(crate) fn submit_stub(plan: &Plan) -> TokenStream {
    let Plan { private, function, .. } = plan;
    let (vis, unsafety) = (&function.vis, unsafety(&function.sig));
    let ident = generated("submit", &function.sig.ident);
    let (params, clause) = parts(&plan.owned_generics);
    let names = names(plan);
    let types = plan.arguments.iter().map(|argument| &argument.owned);
    let result = &plan.result_owned;
    quote! {
        #[allow(unused, missing_docs)]
        #vis #unsafety fn #ident #params(#(#names: #types),*) -> #private::Task<#result> #clause {
            ::core::unreachable!()
        }
    }
}
