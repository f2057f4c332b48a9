//! The generated code: the function that calls a worker, and beside it the other ways to call it.
//!
//! | file | writes |
//! |---|---|
//! | `direct.rs` | the function itself |
//! | `chunks.rs` | its call when arguments are cut |
//! | `companion.rs` | the type beside it, or the functions beside a method |
//! | `bounded.rs` | `try_submit` and `submit_async`, for pools whose queue may be full |
//! | `call_site.rs` | the call site that the runtime is given, and the proofs that types may cross |
//! | `body.rs` | the user's body, and its calls |
//! | `without_companion.rs` | a function with `companion = none` |
//! | `future.rs` | the calls of an `async fn` |
//! | `map.rs` | `map` |
//! | `on_pool.rs` | the function on a pool that is chosen at run time |
//! | `process.rs` | the table entry and the codecs of a function of `kind = "process"` |

mod body;
mod bounded;
mod call_site;
mod chunks;
mod companion;
mod direct;
mod future;
mod map;
mod on_pool;
mod process;
mod signature;
mod without_companion;

use proc_macro2::{Group, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{Attribute, FnArg, Generics, Ident, Pat, PatIdent, Safety, Signature, Type};

use crate::plan::{Companions, Plan};
use crate::types::is_never;

/// The code for a plan; with mistakes in it, everything that other code may name, but nothing that runs.
pub(crate) fn emit(plan: &Plan, valid: bool) -> TokenStream {
    if !valid && plan.is_opaque && plan.is_async() {
        return verbatim(plan);
    }
    let companion = companion::companion(plan, valid);
    let function = match &plan.companions {
        _ if !valid => verbatim(plan),
        Companions::None => without_companion::function(plan),
        Companions::Type(_) | Companions::Impl => direct::function(plan),
    };
    quote!(#function #companion)
}

/// The user's function as written. One with a worker's state has no body, as callers do not pass the state.
fn verbatim(plan: &Plan) -> TokenStream {
    let crate::function::Function { attrs, vis, sig, body } = &plan.function;
    if plan.worker.is_some() {
        let sig = plain_signature(plan);
        return quote!(#(#attrs)* #[allow(unused)] #vis #sig { ::core::unreachable!() });
    }
    quote!(#(#attrs)* #vis #sig #body)
}

/// An attribute of the function on one of its parts. `expect` becomes `allow`: the lint may fire in another part.
fn part_attribute(attr: &Attribute) -> TokenStream {
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
    if let Some(worker) = plan.worker {
        sig.inputs =
            sig.inputs.into_iter().enumerate().filter(|(index, _)| *index != worker).map(|(_, input)| input).collect();
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

/// A call as the function's result. The result of a function that never returns is `Infallible`, and is matched.
fn result_of(plan: &Plan, call: &TokenStream) -> TokenStream {
    if is_never(&plan.result) { quote!(match #call {}) } else { quote!(#call) }
}

/// The body of the function around that call.
fn block(plan: &Plan, call: &TokenStream) -> TokenStream {
    let call = shorten(plan, result_of(plan, call));
    // The block has the span of the user's, where lints that report the function point.
    quote::quote_spanned!(plan.function.body.span()=> { #call })
}

/// The name of `fanfold::__private` in the emitted bodies that use it more than once.
const ALIAS: &str = "__f";

/// The code of a block; if that names the path of `fanfold::__private` more than once, it is imported first.
fn shorten(plan: &Plan, code: TokenStream) -> TokenStream {
    let private = &plan.private;
    let path: Vec<TokenTree> = private.to_token_stream().into_iter().collect();
    let mut found = 0;
    let short = replace_path(code.clone(), &path, &mut found);
    if found < 2 {
        return code;
    }
    let alias = Ident::new(ALIAS, Span::call_site());
    quote!(use #private as #alias; #short)
}

/// Replaces each occurrence of a path by the alias, at the path's span.
fn replace_path(code: TokenStream, path: &[TokenTree], found: &mut usize) -> TokenStream {
    let equal = |one: &TokenTree, other: &TokenTree| match (one, other) {
        (TokenTree::Punct(one), TokenTree::Punct(other)) => one.as_char() == other.as_char(),
        (TokenTree::Ident(one), TokenTree::Ident(other)) => one == other,
        _ => false,
    };
    let tokens: Vec<TokenTree> = code.into_iter().collect();
    let mut replaced = Vec::with_capacity(tokens.len());
    let mut rest = tokens.as_slice();
    while let Some((token, behind)) = rest.split_first() {
        let is_path = rest.len() >= path.len() && rest.iter().zip(path).all(|(one, other)| equal(one, other));
        if is_path {
            *found += 1;
            replaced.push(Ident::new(ALIAS, Span::call_site().located_at(token.span())).into());
            rest = &rest[path.len()..];
            continue;
        }
        rest = behind;
        replaced.push(match token {
            TokenTree::Group(group) => {
                let before = *found;
                let inner = replace_path(group.stream(), path, found);
                // A group without the path, such as the user's body, keeps the spans of its two delimiters.
                if *found == before { token.clone() } else { regroup(group, inner) }
            }
            other => other.clone(),
        });
    }
    replaced.into_iter().collect()
}

/// A group with the same delimiters and other tokens.
fn regroup(group: &Group, inner: TokenStream) -> TokenTree {
    let mut new = Group::new(group.delimiter(), inner);
    new.set_span(group.span());
    new.into()
}

/// Generated tokens at a user's span, where errors point.
fn respan(tokens: &TokenStream, span: Span) -> TokenStream {
    let mut tokens: Vec<_> = tokens.clone().into_iter().collect();
    tokens.iter_mut().for_each(|token| token.set_span(token.span().located_at(span)));
    tokens.into_iter().collect()
}

/// The type, or `_` if a part of it has no name.
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
