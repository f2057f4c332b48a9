//! `name::on(&pool)`: the function on a pool that is chosen at run time.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::Ident;

use super::body::{link, run};
use super::call_site::{checked_call, on_timeout};
use super::{chunks, param_name, parts, process, shorten, unsafety};
use crate::plan::{Companions, Plan};

// fn on(pool: &Pool) -> On<'_, (u32, u32), u32, impl Function<(u32, u32), u32> + use<>> {
//     on(add::__call(), pool, |(a, b)| add::serial(a, b))
// }
pub(super) fn on_pool(plan: &Plan) -> Option<TokenStream> {
    let Plan { krate, private, function, .. } = plan;
    let is_method = match &plan.companions {
        Companions::Type(_) => false,
        Companions::Impl => true,
        Companions::None => return None,
    };
    // The result's type is an argument of the returned type, so it needs a name.
    if plan.is_async() || plan.is_opaque {
        return None;
    }
    if plan.is_process() {
        return Some(on_processes(plan));
    }
    let (vis, unsafety) = (&plan.vis, unsafety(&function.sig));
    let about = format!("Runs [`{}()`] on a pool that is chosen at run time.", link(plan));
    let (params, clause) = parts(&plan.named.generics);
    let captured: Vec<_> = plan.named.generics.params.iter().map(param_name).collect();
    let (types, result) = (&plan.named.inputs, &plan.named.output);
    let arguments = quote!((#(#types,)*));
    let (checked, run) = (checked_call(plan), run(plan));
    // Of a method it captures the parameters of the `impl` block, which are not known here, so that no `use<..>` can name
    // them; without it, it captures the lifetime of the pool too.
    let captured = (!is_method).then(|| quote!(+ use<#(#captured),*>));
    let pool = Ident::new("__pool", Span::mixed_site());
    let within = plan.options.deadline.as_ref().map(|(_, nanoseconds)| quote!(.within(#nanoseconds)));
    let (kind, end) = if let (Some(cut), true) = (&plan.options.cut, plan.options.is_timed()) {
        let (names, on_timeout) = (super::names(plan), on_timeout(plan));
        let call = chunks::call_on(plan, cut, &pool);
        (
            quote! {
                , #private::TimedChunked<
                    #result,
                    impl ::core::ops::Fn(#private::PoolRef<'_>, #arguments) -> #result + ::core::marker::Send #captured
                >
            },
            quote! {
                #private::on_timed_chunked(#checked, pool, #run, #on_timeout, |#pool, (#(#names,)*)| #call) #within
            },
        )
    } else if plan.options.is_timed() {
        let on_timeout = on_timeout(plan);
        (quote!(, #private::Timed<#result>), quote!(#private::on_timed(#checked, pool, #run, #on_timeout) #within))
    } else if let Some(cut) = &plan.options.cut {
        let names = super::names(plan);
        let call = chunks::call_on(plan, cut, &pool);
        (
            quote! {
                , #private::Chunked<
                    impl ::core::ops::Fn(#private::PoolRef<'_>, #arguments) -> #result #captured
                >
            },
            quote!(#private::on_chunked(#checked, pool, #run, |#pool, (#(#names,)*)| #call)),
        )
    } else {
        (quote!(), quote!(#private::on(#checked, pool, #run)))
    };
    let end = shorten(plan, end);
    let ident = plan.name("on");
    Some(quote! {
        #[doc = #about]
        #vis #unsafety fn #ident #params(pool: &#krate::Pool) -> #krate::On<
            '_,
            #arguments,
            #result,
            impl #private::Function<#arguments, #result> #captured
            #kind
        > #clause {
            #end
        }
    })
}

// fn on(pool: &Pool) -> OnProcesses<'_, (u32, u32), u32, impl Code<(u32, u32)>, impl Code<u32>> {
//     on_processes(CallSite::process("add"), add::__remote(), 0, pool)
// }
fn on_processes(plan: &Plan) -> TokenStream {
    let Plan { krate, private, function, .. } = plan;
    let (vis, unsafety) = (&plan.vis, unsafety(&function.sig));
    let about = format!("Runs [`{}()`] on a pool of processes that is chosen at run time.", link(plan));
    let (types, result) = (&plan.named.inputs, &plan.named.output);
    let arguments = quote!((#(#types,)*));
    let (call, within) = (process::site_and_remote(plan), plan.options.deadline_or_zero());
    let pool = Ident::new("__pool", Span::mixed_site());
    let (kind, end) = match &plan.options.cut {
        Some(cut) => {
            let (names, chunks) = (super::names(plan), chunks::call_on(plan, cut, &pool));
            (
                quote! {
                    , #private::Chunked<
                        impl ::core::ops::Fn(#private::PoolRef<'_>, #arguments) -> #result + ::core::marker::Send + use<>
                    >
                },
                quote!(#private::on_processes_chunked(#call, #within, pool, |#pool, (#(#names,)*)| #chunks)),
            )
        }
        None => (quote!(), quote!(#private::on_processes(#call, #within, pool))),
    };
    let end = shorten(plan, end);
    let ident = plan.name("on");
    quote! {
        #[doc = #about]
        #vis #unsafety fn #ident(pool: &#krate::Pool) -> #krate::OnProcesses<
            '_,
            #arguments,
            #result,
            impl #private::Code<#arguments> + use<>,
            impl #private::Code<#result> + use<>
            #kind
        > {
            #end
        }
    }
}
