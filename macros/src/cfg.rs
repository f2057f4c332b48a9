//! `#[cfg]` on a parameter. The compiler evaluates it after this macro has run, so the function is emitted twice: with
//! the parameter under the condition, and without it under the opposite.

use proc_macro2::TokenStream;
use quote::quote;
use syn::punctuated::Punctuated;

use crate::function::Function;
use crate::plan::{attributes, attributes_mut};

/// The function with and without its first conditional parameter; `None` if it has none.
pub(crate) fn split(function: &Function) -> Option<[TokenStream; 2]> {
    let is_cfg = |attr: &syn::Attribute| attr.path().is_ident("cfg");
    let index = function.sig.inputs.iter().position(|input| attributes(input).iter().any(is_cfg))?;
    let mut with = function.sig.clone();
    let mut conditions = TokenStream::new();
    let attrs = attributes_mut(&mut with.inputs[index]);
    for attr in attrs.iter().filter(|attr| is_cfg(attr)) {
        let condition = attr.meta.require_list().ok()?.tokens.clone();
        conditions.extend(quote!(#condition,));
    }
    attrs.retain(|attr| !is_cfg(attr));
    let mut without = function.sig.clone();
    let others = without.inputs.into_iter().enumerate().filter(|(other, _)| *other != index);
    without.inputs = others.map(|(_, input)| input).collect::<Punctuated<_, _>>();
    let Function { attrs, vis, body, .. } = function;
    Some([
        quote!(#[cfg(all(#conditions))] #(#attrs)* #vis #with #body),
        quote!(#[cfg(not(all(#conditions)))] #(#attrs)* #vis #without #body),
    ])
}
