//! The receiver of a method: how it takes `self`.

use proc_macro2::{TokenStream, TokenTree};
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
    /// Whether a task can own the receiver.
    pub(crate) fn can_be_kept(&self) -> bool {
        matches!(self, Self::Shared | Self::Counted | Self::Owned)
    }

    /// Whether all calls of a map can have the same receiver.
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

/// The receiver's type, at the span of `self`.
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

/// Whether the function has a receiver or names `Self`, and so stands in an `impl` block.
pub(crate) fn is_inside_impl(function: &Function) -> bool {
    function.sig.receiver().is_some()
        || names_self(function.sig.to_token_stream())
        || function.names_in_body().iter().any(|name| name == "Self")
}

/// Whether `Self` occurs.
fn names_self(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == "Self",
        TokenTree::Group(group) => names_self(group.stream()),
        _ => false,
    })
}
