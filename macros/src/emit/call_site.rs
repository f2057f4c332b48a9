//! The call site that the runtime is given, and the proofs that the function's types may cross to a worker.
//!
//! Each proof is asked for in one place, so that one bad type is one error.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Ident, Safety, Type};

use super::{names, parts, respan, shorten, ty_or_infer};
use crate::options::Kind;
use crate::plan::{Companions, Plan};
use crate::types::names_unsent_object;

/// The `CallSite`: the function's name, its pool and the options of its calls.
pub(super) fn call_site(plan: &Plan) -> TokenStream {
    let private = &plan.private;
    let path = path(plan);
    let site = match (&plan.options.pool, plan.options.kind) {
        (Some(pool), _) => {
            let pool = quote_spanned!(pool.span()=> &#pool);
            quote!(new(#path, #pool))
        }
        (None, Some(Kind::Io)) => quote!(io(#path)),
        (None, Some(Kind::Process | Kind::Cluster)) if cfg!(feature = "process") => quote!(process(#path)),
        (None, _) => quote!(cpu(#path)),
    };
    let progress = plan.options.progress.as_ref().map(|label| {
        let label = quote_spanned!(label.span()=> #private::label::<()>(#label));
        quote!(.progress(#label))
    });
    let timeout = plan.options.timeout.as_ref().map(|(_, nanoseconds)| quote!(.timeout(#nanoseconds)));
    let stateful = plan.worker.map(|_| quote!(.stateful()));
    quote! {
        #private::CallSite::#site #progress #timeout #stateful
    }
}

/// The function's path, for error messages.
pub(super) fn path(plan: &Plan) -> TokenStream {
    let name = plan.function.sig.ident.to_string();
    quote!(::core::concat!(::core::module_path!(), "::", #name))
}

/// The function that makes a result of a time-out.
pub(super) fn on_timeout(plan: &Plan) -> TokenStream {
    let private = &plan.private;
    let result = ty_or_infer(&plan.result);
    quote_spanned!(plan.result.span()=> #private::on_timeout::<#result>())
}

/// `__call`: the one place that checks the argument and result types, each where the user wrote it.
pub(super) fn call_function(plan: &Plan, valid: bool) -> TokenStream {
    let private = &plan.private;
    let site = call_site(plan);
    let name = plan.name("__call");
    let (params, clause) = parts(&plan.named.generics);
    let types = &plan.named.inputs;
    let arguments = types.iter().map(|ty| send_proof(private, ty));
    // Naming the function keeps the lint on dead code quiet when only the companions are used.
    let mention = mention(plan);
    let (check, call) = match (valid, plan.is_opaque) {
        (false, _) => (None, quote!(#private::CheckedCall::invalid(#site))),
        (true, false) => {
            let result = send_proof(private, &plan.named.output);
            (None, quote!(#private::CheckedCall::new(#site, (#(#arguments,)*), #result)))
        }
        (true, true) => {
            // The result's type has no name: the function that returns it is checked instead.
            let names = names(plan);
            let call = call_for_type(plan);
            let sent_by = if plan.is_async() { quote!(#private::sent_by_future) } else { quote!(#private::sent_by) };
            let sent_by = respan(&sent_by, plan.result.span());
            let check = quote!(#sent_by(|(#(#names,)*): (#(#types,)*)| #call););
            (Some(check), quote!(#private::CheckedCall::new(#site, (#(#arguments,)*), #private::sent::<()>())))
        }
    };
    let result = &plan.named.output;
    let result = if plan.is_opaque { quote!(()) } else { quote!(#result) };
    let body = shorten(plan, quote!(#mention #check #call));
    quote! {
        #[doc(hidden)]
        fn #name #params() -> #private::CheckedCall<(#(#types,)*), #result> #clause {
            #body
        }
    }
}

/// A call of the body that is compiled for its type and never made.
fn call_for_type(plan: &Plan) -> TokenStream {
    let serial = plan.path("serial");
    let turbofish = plan.turbofish(0);
    let mut values: Vec<_> = names(plan).into_iter().map(|name| quote!(#name)).collect();
    if let Some(index) = plan.worker {
        values.insert(index, quote!(::core::unreachable!()));
    }
    let call = quote!(#serial #turbofish(#(#values),*));
    // SAFETY of the emitted code: the call is in a closure that is never called.
    if let Safety::Unsafe(_) = plan.function.sig.safety { quote!(unsafe { #call }) } else { call }
}

/// The `CheckedCall` that an entry of the runtime takes: a call of `__call`.
pub(super) fn checked_call(plan: &Plan) -> TokenStream {
    let call = plan.path("__call");
    let impls = plan.turbofish(plan.impls());
    // SAFETY of the emitted code: `__call` has checked the type that `serial` returns, and each entry that is given
    // this proof calls `serial`, or the future of it.
    if plan.is_opaque { quote!(unsafe { #call #impls().with_result() }) } else { quote!(#call #impls()) }
}

/// `__failed`: the one place that checks that the result can fail, for `retries`.
pub(super) fn failed_function(plan: &Plan, valid: bool) -> Option<TokenStream> {
    let private = &plan.private;
    plan.options.retries.as_ref().filter(|_| !plan.is_opaque)?;
    let name = plan.name("__failed");
    let (params, clause) = parts(&plan.named.generics);
    let result = &plan.named.output;
    let failed = if valid {
        quote_spanned!(plan.result.span()=> #private::fallible::<#result>())
    } else {
        quote!(::core::unreachable!())
    };
    Some(quote! {
        #[doc(hidden)]
        fn #name #params() -> fn(&#result) -> ::core::primitive::bool #clause {
            #failed
        }
    })
}

/// A mention of the function: a closure that is never called.
pub(super) fn mention(plan: &Plan) -> TokenStream {
    let mut name = plan.function.sig.ident.clone();
    name.set_span(Span::call_site().located_at(name.span()));
    if plan.impls() > 0 {
        return quote!();
    }
    let owner = if let Companions::Impl = plan.companions { quote!(Self::) } else { quote!() };
    let turbofish = plan.turbofish(0);
    quote!(let _ = || #owner #name #turbofish;)
}

/// The `SendProof` of a type.
pub(super) fn send_proof(private: &syn::Path, ty: &Type) -> TokenStream {
    let by_value = |ty: &Type| {
        let sent = Ident::new(if names_unsent_object(ty) { "sent_object" } else { "sent" }, ty.span());
        quote_spanned!(ty.span()=> #private::#sent::<#ty>())
    };
    match ty {
        Type::Reference(reference) if reference.mutability.is_none() => match &*reference.elem {
            // An elided lifetime of `dyn Trait` means another one behind a reference than alone.
            Type::TraitObject(_) | Type::Paren(_) => by_value(ty),
            elem => quote_spanned!(elem.span()=> #private::shared::<#elem>()),
        },
        _ => by_value(ty),
    }
}
