//! The signatures of what is emitted beside the function.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{Generics, Ident, parse_quote};

use crate::plan::{Argument, Home, Plan};
use crate::receiver::Receiver;

/// The generics and the inputs of `submit`: everything is owned.
pub(super) fn submit_signature(plan: &Plan) -> (Generics, Vec<TokenStream>) {
    let private = &plan.private;
    let mut generics = plan.owned_generics.clone();
    if let Home::Impl = plan.home {
        let clause = generics.make_where_clause();
        clause.predicates.push(match plan.receiver {
            // With a lifetime of its own the condition is one on the caller, even where `Self` could never meet it.
            Some(Receiver::Shared) => {
                parse_quote!(for<'__any> Self: ::core::marker::Send + ::core::marker::Sync + 'static)
            }
            _ => parse_quote!(Self: 'static),
        });
    }
    let inputs = plan.arguments.iter().enumerate().map(|(index, argument)| {
        let (value, owned) = (input(argument), &argument.owned);
        match (index, &plan.receiver) {
            (0, Some(Receiver::Shared)) => quote!(#value: #private::Arc<Self>),
            _ => quote!(#value: #owned),
        }
    });
    (generics, inputs.collect())
}

/// An argument of a generated function: `self` is one of its own, or lints would take its type for the user's.
pub(super) fn input(argument: &Argument) -> Ident {
    if argument.is_receiver { Ident::new("self", Span::mixed_site()) } else { argument.ident.clone() }
}
