//! The signature of `submit`.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{Generics, Ident, parse_quote};

use crate::plan::{Argument, Companions, Plan};
use crate::receiver::Receiver;

/// The generics and the inputs of `submit`, in the owned form.
pub(super) fn submit_signature(plan: &Plan) -> (Generics, Vec<TokenStream>) {
    let mut generics = plan.owned.generics.clone();
    if let Companions::Impl = plan.companions {
        let clause = generics.make_where_clause();
        clause.predicates.push(match plan.receiver {
            // The `for<'__any>` makes this a condition on the caller, even where `Self` can never meet it.
            Some(Receiver::Shared) => {
                parse_quote!(for<'__any> Self: ::core::marker::Send + ::core::marker::Sync + 'static)
            }
            _ => parse_quote!(Self: 'static),
        });
    }
    let inputs = plan.arguments.iter().zip(input_types(plan)).map(|(argument, ty)| {
        let value = input(argument);
        quote!(#value: #ty)
    });
    (generics, inputs.collect())
}

/// The types of the inputs of `submit`.
pub(super) fn input_types(plan: &Plan) -> Vec<TokenStream> {
    let private = &plan.private;
    let types = plan.owned.inputs.iter().enumerate().map(|(index, owned)| match (index, &plan.receiver) {
        (0, Some(Receiver::Shared)) => quote!(#private::Arc<Self>),
        _ => quote!(#owned),
    });
    types.collect()
}

/// The name of an argument in a generated signature. `self` has a generated span, or lints would report its type as the
/// user's.
pub(super) fn input(argument: &Argument) -> Ident {
    if argument.is_receiver { Ident::new("self", Span::mixed_site()) } else { argument.ident.clone() }
}
