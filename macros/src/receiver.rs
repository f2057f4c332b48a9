//! What stands before the dot in a call of a method.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{ReceiverKind, Type, parse_quote_spanned};

use crate::function::Function;

/// How a method takes its receiver.
pub(crate) enum Receiver {
    /// `&self`
    Shared,
    /// `&mut self`
    Exclusive,
    /// `self: Arc<Self>`
    Counted,
    /// `self`, `self: Box<Self>`
    Owned,
    /// `self: &Arc<Self>` and the like
    Borrowed,
}

impl Receiver {
    /// Whether a task can own it.
    pub(crate) fn can_be_kept(&self) -> bool {
        matches!(self, Self::Shared | Self::Counted | Self::Owned)
    }

    /// Whether a map's items can all be given the same one.
    pub(crate) fn serves_many(&self) -> bool {
        matches!(self, Self::Shared | Self::Counted)
    }
}

pub(crate) fn of(receiver: &syn::Receiver) -> Receiver {
    match ty(receiver) {
        Type::Reference(reference) => match (&*reference.elem, &reference.mutability) {
            (_, Some(_)) => Receiver::Exclusive,
            (Type::Path(path), None) if path.path.is_ident("Self") => Receiver::Shared,
            _ => Receiver::Borrowed,
        },
        Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Arc") => Receiver::Counted,
        _ => Receiver::Owned,
    }
}

/// The receiver's type, in the place of the `self` that stands for it.
pub(crate) fn ty(receiver: &syn::Receiver) -> Type {
    let span = receiver.self_token.span;
    match &receiver.kind {
        ReceiverKind::Reference(and, lifetime, mutability) => {
            let this: Type = parse_quote_spanned!(span=> Self);
            syn::parse_quote!(#and #lifetime #mutability #this)
        }
        ReceiverKind::Typed(_, ty) => (**ty).clone(),
        _ => parse_quote_spanned!(span=> Self),
    }
}

/// Whether the function has a receiver or speaks of `Self`.
pub(crate) fn is_inside_impl(function: &Function) -> bool {
    function.sig.receiver().is_some()
        || names_self(function.sig.to_token_stream())
        || speaks_of_self(function.body.stream())
}

/// Whether `Self` occurs.
fn names_self(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == "Self",
        TokenTree::Group(group) => names_self(group.stream()),
        _ => false,
    })
}

/// Whether `Self` occurs, outside of items: those have one of their own, or none.
fn speaks_of_self(tokens: TokenStream) -> bool {
    const ITEMS: [&str; 7] = ["impl", "trait", "struct", "enum", "union", "fn", "macro_rules"];
    let mut in_item = false;
    for token in tokens {
        match &token {
            TokenTree::Ident(ident) if ident == "Self" && !in_item => return true,
            TokenTree::Ident(ident) => in_item |= ITEMS.iter().any(|item| ident == item),
            TokenTree::Group(group) if in_item => in_item = group.delimiter() != Delimiter::Brace,
            TokenTree::Group(group) if speaks_of_self(group.stream()) => return true,
            TokenTree::Punct(punct) if punct.as_char() == ';' => in_item = false,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    #[test]
    fn self_counts_outside_of_items_alone() {
        assert!(speaks_of_self(quote!(let a = Self::new(); a)));
        assert!(speaks_of_self(quote!(fn helper() {}, (1, [Self::LIMIT]))));
        assert!(!speaks_of_self(quote!(struct A; impl A { fn new() -> Self { Self } } A::new())));
        assert!(!speaks_of_self(quote!(
            fn helper(of: Option<u8>) -> u8 {
                1
            },
            helper()
        )));
    }
}
