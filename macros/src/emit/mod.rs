//! The generated code: the function that calls a worker, and beside it the other ways to call it.
//!
//! | file | writes |
//! |---|---|
//! | `direct.rs` | the function itself |
//! | `chunks.rs` | its call when arguments are cut |
//! | `companion.rs` | the type beside it, or the functions beside a method |
//! | `site.rs` | what the runtime is told, and the proof that types may cross |
//! | `body.rs` | the user's body, and its calls |
//! | `alone.rs` | a function without companions |
//! | `future.rs` | what an `async fn` has instead |
//! | `process.rs` | what a function of `kind = "process"` has beside |

mod alone;
mod body;
mod chunks;
mod companion;
mod direct;
mod future;
mod process;
mod signature;
mod site;

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{Attribute, FnArg, Generics, Ident, Pat, PatIdent, Safety, Signature, Type};

use crate::plan::{Home, Plan};
use crate::types::is_never;

/// The code for a plan; with mistakes in it, everything that other code may name, but nothing that runs.
pub(crate) fn emit(plan: &Plan, valid: bool) -> TokenStream {
    if !valid && plan.is_opaque && plan.is_async() {
        return verbatim(plan);
    }
    let companion = companion::companion(plan, valid);
    let function = match &plan.home {
        _ if !valid => verbatim(plan),
        Home::None => alone::function(plan),
        Home::Type(_) | Home::Impl => direct::function(plan),
    };
    quote!(#function #companion)
}

/// The user's function as it stands; one with a worker's state without its body, as callers do not give the state.
fn verbatim(plan: &Plan) -> TokenStream {
    let crate::function::Function { attrs, vis, sig, body } = &plan.function;
    if plan.worker.is_some() {
        let sig = plain_signature(plan);
        return quote!(#(#attrs)* #[allow(unused)] #vis #sig { ::core::unreachable!() });
    }
    quote!(#(#attrs)* #vis #sig #body)
}

/// An attribute of the function on a part of it: the lint that was expected may fire on another part.
fn divided(attr: &Attribute) -> TokenStream {
    match attr.meta.require_list().ok().filter(|_| attr.path().is_ident("expect")) {
        Some(list) => {
            let lints = &list.tokens;
            quote!(#[allow(#lints)])
        }
        None => quote!(#attr),
    }
}

/// The signature with a plain name for each argument.
fn plain_signature(plan: &Plan) -> Signature {
    let mut sig = plan.function.sig.clone();
    if let Some(place) = plan.worker {
        sig.inputs =
            sig.inputs.into_iter().enumerate().filter(|(index, _)| *index != place).map(|(_, input)| input).collect();
    }
    for (input, planned) in sig.inputs.iter_mut().zip(&plan.arguments) {
        match input {
            FnArg::Receiver(receiver) => receiver.mutability = None,
            FnArg::Typed(argument) => {
                *argument.pat = Pat::Ident(PatIdent {
                    attrs: Vec::new(),
                    by_ref: None,
                    mutability: None,
                    ident: planned.ident.clone(),
                    subpat: None,
                });
            }
        }
    }
    sig
}

/// The call that makes a function's result; one that never returns has no value.
fn ending(plan: &Plan, call: &TokenStream) -> TokenStream {
    if is_never(&plan.result) { quote!(match #call {}) } else { quote!(#call) }
}

/// The body of a function around that call.
fn block(plan: &Plan, call: &TokenStream) -> TokenStream {
    let call = ending(plan, call);
    // The block stands where the user's did: lints that speak of the function point there.
    quote::quote_spanned!(plan.function.body.span()=> { #call })
}

/// Generated tokens that an error is to show at the user's.
fn respan(tokens: &TokenStream, span: Span) -> TokenStream {
    let mut tokens: Vec<_> = tokens.clone().into_iter().collect();
    tokens.iter_mut().for_each(|token| token.set_span(token.span().located_at(span)));
    tokens.into_iter().collect()
}

/// The type, or `_` where it has no name.
fn ty_or_infer(ty: &Type) -> TokenStream {
    if crate::types::contains_impl(ty) { quote!(_) } else { quote!(#ty) }
}

fn names(plan: &Plan) -> Vec<&Ident> {
    plan.arguments.iter().map(|argument| &argument.ident).collect()
}

fn values(plan: &Plan) -> Vec<&TokenStream> {
    plan.arguments.iter().map(|argument| &argument.value).collect()
}

fn unsafety(sig: &Signature) -> Option<TokenStream> {
    matches!(sig.safety, Safety::Unsafe(_)).then(|| quote!(unsafe))
}

fn parts(generics: &Generics) -> (syn::ImplGenerics<'_>, Option<&syn::WhereClause>) {
    let (params, _, clause) = generics.split_for_impl();
    (params, clause)
}

fn param_name(param: &syn::GenericParam) -> TokenStream {
    match param {
        syn::GenericParam::Lifetime(param) => param.lifetime.to_token_stream(),
        syn::GenericParam::Type(param) => param.ident.to_token_stream(),
        syn::GenericParam::Const(param) => param.ident.to_token_stream(),
    }
}
