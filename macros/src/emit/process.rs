//! A function of `kind = "process"`: its entry in the table of functions that a worker process can run, and the codec
//! of each of its types.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::Type;
use syn::spanned::Spanned;

use super::body::{link, run};
use super::call_site::{call_site, mention, on_timeout, path};
use super::shorten;
use crate::options::Kind;
use crate::plan::Plan;

// fn __remote() -> Remote<(u32, u32), u32, impl Code<(u32, u32)>, impl Code<u32>> { .. }
// fn __entry() -> &'static Entry { static ENTRY: Entry = ..; &ENTRY }
// fn __serve(serving: &mut Serving<'_>) { Self::__remote().serve(serving) }
pub(super) fn remote(plan: &Plan) -> TokenStream {
    let private = &plan.private;
    let (types, result) = (&plan.named.inputs, &plan.named.output);
    let [remote, entry, serve] = ["__remote", "__entry", "__serve"].map(|name| plan.path(name));
    let name = plan.function.sig.ident.to_string();
    let codecs = types.iter().map(|ty| codec(private, ty));
    let result_codec = codec(private, result);
    let run = run(plan);
    let mention = mention(plan);
    let path = path(plan);
    let on_error = if plan.options.is_timed() {
        let on_timeout = on_timeout(plan);
        quote!(::core::option::Option::Some(#on_timeout))
    } else {
        quote!(#private::Dispatch::<#result>::new().late())
    };
    let backoff = plan.options.backoff.as_ref().map_or(0, |(_, nanoseconds)| *nanoseconds);
    let retries = plan.options.retries.as_ref().map(|times| quote!(.retries(#times, #backoff)));
    let cluster = matches!(plan.options.kind, Some(Kind::Cluster)).then(|| quote!(.on_cluster()));
    let body = quote! {
        #[allow(unused_imports)]
        use #private::{HasLocalState as _, HasNoPlace as _, HasNoSides as _, MustBeSerde as _};
        #mention
        #private::Remote::new(#path, #entry(), (#(#codecs,)*), #result_codec, #run, #on_error) #retries #cluster
    };
    let body = shorten(plan, body);
    quote! {
        #[doc(hidden)]
        fn __remote() -> #private::Remote<
            (#(#types,)*),
            #result,
            impl #private::Code<(#(#types,)*)>,
            impl #private::Code<#result>,
        > {
            #body
        }
        #[doc(hidden)]
        fn __entry() -> &'static #private::Entry {
            #[#private::linkme::distributed_slice(#private::ENTRIES)]
            #[linkme(crate = #private::linkme)]
            static ENTRY: #private::Entry = #private::Entry::new(
                ::core::concat!(
                    ::core::module_path!(), "::", #name,
                    " of ", ::core::file!(), ":", ::core::line!(), ":", ::core::column!(),
                ),
                #serve,
            );
            &ENTRY
        }
        #[doc(hidden)]
        fn __serve(serving: &mut #private::Serving<'_>) {
            #remote().serve(serving);
        }
    }
}

/// `task`: the function as a value that names it in other processes.
pub(super) fn task(plan: &Plan) -> TokenStream {
    let Plan { krate, private, vis, .. } = plan;
    let (types, result) = (&plan.named.inputs, &plan.named.output);
    let about = format!("[`{}()`] as a value that names it in other processes.", link(plan));
    let remote = plan.path("__remote");
    let timeout = plan.options.timeout.as_ref().map(|(_, nanoseconds)| quote!(.timeout(#nanoseconds)));
    quote! {
        #[doc = #about]
        #vis fn task() -> #krate::RemoteTask<
            (#(#types,)*),
            #result,
            impl #private::Code<(#(#types,)*)>,
            impl #private::Code<#result>,
        > {
            #krate::RemoteTask::new(#remote()) #timeout
        }
    }
}

/// The codec of a type, which the compiler chooses where the user wrote the type.
fn codec(private: &syn::Path, ty: &Type) -> TokenStream {
    let span = Span::mixed_site().located_at(ty.span());
    quote_spanned! {span=>
        {
            let whole = #private::Dispatch::<#ty>::new();
            whole.whole((&&&whole.value()).way(), (&&&whole.error()).way())
        }
    }
}

/// The call site and the `Remote`: the first arguments of the runtime's entries for processes.
pub(super) fn site_and_remote(plan: &Plan) -> TokenStream {
    let (site, remote) = (call_site(plan), plan.path("__remote"));
    quote!(#site, #remote())
}

/// The arguments of `map_process` before the items.
pub(super) fn map_arguments(plan: &Plan) -> TokenStream {
    let call = site_and_remote(plan);
    match plan.arguments.len() {
        1 => quote!(#call, |item| (item,)),
        _ => quote!(#call, |items| items),
    }
}
