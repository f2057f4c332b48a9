//! What the runtime is told of the function, and the proofs that it asks for: each in one place alone, so that one
//! bad type is one error.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Ident, Safety, Type};

use super::{names, parts, respan, ty_or_infer};
use crate::options::Kind;
use crate::plan::{Home, Plan};
use crate::types::names_unsent_object;

/// The function's name, its pool, and what was said about its calls.
pub(super) fn value(plan: &Plan) -> TokenStream {
    let private = &plan.private;
    let path = path(plan);
    let site = match (&plan.options.pool, plan.options.kind) {
        (Some(pool), _) => {
            let pool = quote_spanned!(pool.span()=> &#pool);
            quote!(new(#path, #pool))
        }
        (None, Some(Kind::Io)) => quote!(io(#path)),
        (None, Some(Kind::Process)) if cfg!(feature = "process") => quote!(process(#path)),
        (None, _) => quote!(cpu(#path)),
    };
    let progress = plan.options.progress.as_ref().map(|label| {
        let label = quote_spanned!(label.span()=> #private::label::<()>(#label));
        quote!(.progress(#label))
    });
    let timeout = plan.options.timeout.as_ref().map(|(_, nanoseconds)| quote!(.timeout(#nanoseconds)));
    let stateful = plan.worker.map(|_| quote!(.stateful()));
    quote! {
        #private::Site::#site #progress #timeout #stateful
    }
}

/// The function's path, for errors.
pub(super) fn path(plan: &Plan) -> TokenStream {
    let name = plan.function.sig.ident.to_string();
    quote!(::core::concat!(::core::module_path!(), "::", #name))
}

/// What a call that ran out of time returns.
pub(super) fn late(plan: &Plan) -> TokenStream {
    let private = &plan.private;
    let result = ty_or_infer(&plan.result);
    quote_spanned!(plan.result.span()=> #private::late::<#result>())
}

/// Each type is checked where the user wrote it, and nowhere else.
pub(super) fn call_of(plan: &Plan, valid: bool) -> TokenStream {
    let private = &plan.private;
    let site = value(plan);
    let name = plan.name("__call");
    let (params, clause) = parts(&plan.named_generics);
    let types = plan.arguments.iter().map(|argument| &argument.named);
    let arguments = plan.arguments.iter().map(|argument| witness(private, &argument.named));
    // Naming the function here keeps it alive for the lint on dead code when only its companions are used.
    let keep = keep(plan);
    let (result, check, proof) = match (valid, plan.is_opaque) {
        (false, _) => (unnamed(plan), None, quote!(#private::Call::unchecked(#site))),
        (true, false) => {
            let result = witness(private, &plan.result_named);
            (unnamed(plan), None, quote!(#private::Call::new(#site, (#(#arguments,)*), #result)))
        }
        (true, true) => {
            // The result has no name: what returns it stands for it.
            let (names, types) = (names(plan), plan.arguments.iter().map(|argument| &argument.named));
            let call = unstated(plan);
            let sent_by = if plan.is_async() { quote!(#private::sent_by_future) } else { quote!(#private::sent_by) };
            let sent_by = respan(&sent_by, plan.result.span());
            let check = quote!(#sent_by(|(#(#names,)*): (#(#types,)*)| #call););
            (unnamed(plan), Some(check), quote!(#private::Call::new(#site, (#(#arguments,)*), #private::sent::<()>())))
        }
    };
    quote! {
        fn #name #params() -> #private::Call<(#(#types,)*), #result> #clause {
            #keep
            #check
            #proof
        }
    }
}

/// The result's type in a proof: `()` for one without a name.
fn unnamed(plan: &Plan) -> TokenStream {
    let result = &plan.result_named;
    if plan.is_opaque { quote!(()) } else { quote!(#result) }
}

/// A call of the body for its type alone: it is never made.
fn unstated(plan: &Plan) -> TokenStream {
    let serial = plan.path("serial");
    let turbofish = plan.turbofish(0);
    let mut values: Vec<_> = names(plan).into_iter().map(|name| quote!(#name)).collect();
    if let Some(place) = plan.worker {
        values.insert(place, quote!(::core::unreachable!()));
    }
    let call = quote!(#serial #turbofish(#(#values),*));
    if let Safety::Unsafe(_) = plan.function.sig.safety { quote!(unsafe { #call }) } else { call }
}

/// What a call is told of the function.
pub(super) fn know(plan: &Plan) -> TokenStream {
    let call = plan.path("__call");
    let impls = plan.turbofish(plan.impls());
    // `__call` has checked what `serial` returns, and nothing else is called with this proof.
    if plan.is_opaque { quote!(unsafe { #call #impls().returns() }) } else { quote!(#call #impls()) }
}

/// What tells a failure that is worth a retry; asked for in one place, as in `sent`.
pub(super) fn failed(plan: &Plan, valid: bool) -> Option<TokenStream> {
    let private = &plan.private;
    plan.options.retries.as_ref().filter(|_| !plan.is_opaque)?;
    let name = plan.name("__failed");
    let (params, clause) = parts(&plan.named_generics);
    let result = &plan.result_named;
    let failed = if valid {
        quote_spanned!(plan.result.span()=> #private::fallible::<#result>())
    } else {
        quote!(::core::unreachable!())
    };
    Some(quote! {
        fn #name #params() -> fn(&#result) -> ::core::primitive::bool #clause {
            #failed
        }
    })
}

/// A closure that is never called, around the function's name.
pub(super) fn keep(plan: &Plan) -> TokenStream {
    let mut name = plan.function.sig.ident.clone();
    name.set_span(Span::call_site().located_at(name.span()));
    if plan.impls() > 0 {
        return quote!();
    }
    let owner = if let Home::Impl = plan.home { quote!(Self::) } else { quote!() };
    let turbofish = plan.turbofish(0);
    quote!(let _ = || #owner #name #turbofish;)
}

pub(super) fn witness(private: &syn::Path, ty: &Type) -> TokenStream {
    let plain = |ty: &Type| {
        let sent = Ident::new(if names_unsent_object(ty) { "sent_object" } else { "sent" }, ty.span());
        quote_spanned!(ty.span()=> #private::#sent::<#ty>())
    };
    match ty {
        Type::Reference(reference) if reference.mutability.is_none() => match &*reference.elem {
            // Behind a reference an unnamed lifetime of `dyn Trait` means another one than alone.
            Type::TraitObject(_) | Type::Paren(_) => plain(ty),
            elem => quote_spanned!(elem.span()=> #private::shared::<#elem>()),
        },
        _ => plain(ty),
    }
}
