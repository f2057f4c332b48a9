//! `name::on(&pool)`: the function on a pool that is chosen at run time.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::Ident;

use super::body::{link, run};
use super::call_site::{checked_call, on_timeout};
use super::{chunks, param_name, parts, shorten, unsafety};
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
    if plan.is_async() || plan.is_process() || plan.is_opaque || is_method && plan.options.cut.is_some() {
        return None;
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
    let (kind, end) = if plan.options.is_timed() {
        let on_timeout = on_timeout(plan);
        let within = plan.options.deadline.as_ref().map(|(_, nanoseconds)| quote!(.within(#nanoseconds)));
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
