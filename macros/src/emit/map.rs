//! `name::map`: the function on many items.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::visit_mut::VisitMut;
use syn::{GenericParam, Ident, Safety, Type, parse_quote};

use super::body::{call, link};
use super::call_site::{checked_call, on_timeout};
use super::companion::runs_in_process;
use super::signature::input;
use super::{names, parts, process, shorten, unsafety};
use crate::plan::{Argument, Companions, Plan};
use crate::receiver::Receiver;
use crate::types::CaptureAlso;

// fn map<__Items: Items<(u32, u32), __Marker>, __Marker>(
//     items: __Items,
// ) -> Map<__Items::Source, NamedFn<add, (u32, u32), u32>, (u32, u32)> {
//     map(add::__call(), items, Companion::new())
// }
pub(super) fn map(plan: &Plan, valid: bool) -> TokenStream {
    let Plan { krate, private, function, .. } = plan;
    let receiver = shared_receiver(plan);
    let (vis, unsafety) = (&plan.vis, unsafety(&function.sig));
    let ident = plan.name("map");
    let about = format!("Runs [`{}()`] on many items; lazy until it is ended.", link(plan));
    let mut generics = plan.named.generics.clone();
    let (items, marker) = (format_ident!("__Items"), format_ident!("__Marker"));
    let item = item_type(plan, receiver.is_some());
    generics.params.push(parse_quote!(#items: #krate::Items<#item, #marker>));
    generics.params.push(parse_quote!(#marker));
    if let Some((Receiver::Counted, _)) = receiver {
        generics.make_where_clause().predicates.push(parse_quote!(Self: 'static));
    }
    let mut result = plan.named.output.clone();
    CaptureAlso(vec![items.clone(), marker]).visit_type_mut(&mut result);
    let (input, this, suffix) = match receiver {
        Some((_, this)) => {
            let (value, ty) = (input(this), &plan.named.inputs[0]);
            (quote!(#value: #ty,), quote!(#value,), "_on")
        }
        None => (quote!(), quote!(), ""),
    };
    let on_timeout = plan.options.timeout.as_ref().filter(|_| valid).map(|_| on_timeout(plan));
    let on_timeout = on_timeout.map(|on_timeout| quote!(#on_timeout,));
    let opaque = |bound: &str| {
        let bound = format_ident!("{bound}");
        quote!(impl #private::#bound<#item, Out = #result>)
    };
    let (map, function, into) = match (plan.is_async(), &on_timeout, receiver) {
        _ if runs_in_process(plan, valid) => ("Map", quote!(#private::ProcessFn<#item, #result>), "map_process"),
        (false, None, _) if is_named(plan, valid) => ("Map", named_type(plan, &item), "map"),
        (false, Some(_), _) if is_named(plan, valid) => ("TimedMap", named_type(plan, &item), "map_timed"),
        // An iterator is `'static`, so it cannot hold a map that borrows the receiver.
        (false, None, Some((Receiver::Shared, _))) => ("Map", opaque("MapFn"), "map"),
        (false, None, _) => ("Map", opaque("Detach"), "map"),
        (false, Some(_), _) => ("TimedMap", opaque("Detach"), "map_timed"),
        (true, None, _) => ("AsyncMap", opaque("MapFuture"), "map_async"),
        (true, Some(_), _) => ("AsyncMap", opaque("MapFuture"), "map_async_timed"),
    };
    let (map, into) = (format_ident!("{map}"), format_ident!("{into}{suffix}"));
    let mut checked = checked_call(plan);
    if let [_] = &*plan.arguments {
        checked = quote!(#checked.single_argument());
    }
    let arguments = if runs_in_process(plan, valid) {
        let arguments = process::map_arguments(plan);
        quote!(#arguments, items)
    } else if is_named(plan, valid) {
        quote!(#checked, #on_timeout items, #private::Companion::new())
    } else {
        let (pattern, call) = (pattern(plan), call(plan));
        quote!(#checked, #on_timeout #this items, |#pattern| #call)
    };
    let end = shorten(plan, quote!(#private::#into(#arguments)));
    let (params, clause) = parts(&generics);
    quote! {
        #[doc = #about]
        #vis #unsafety fn #ident #params(#input items: #items) -> #krate::#map<
            #items::Source,
            #function,
            #item,
        > #clause {
            #end
        }
    }
}

// impl Named<(u32, u32), u32> for add {
//     fn run((a, b): (u32, u32)) -> u32 {
//         add::serial(a, b)
//     }
// }
pub(super) fn named(plan: &Plan, companion: &Ident) -> TokenStream {
    let private = &plan.private;
    let (params, clause) = parts(&plan.named.generics);
    let (item, result) = (item_type(plan, false), &plan.named.output);
    let (pattern, call) = (pattern(plan), shorten(plan, call(plan)));
    quote! {
        impl #params #private::Named<#item, #result> for #companion #clause {
            #[inline]
            fn run(#pattern: #item) -> #result {
                #call
            }
        }
    }
}

/// Whether the companion implements [`named`]'s trait, so that its map has no opaque type. It has no generics, which an
/// implementation would have to mention; the trait's function is safe; and the result has a name.
pub(super) fn is_named(plan: &Plan, valid: bool) -> bool {
    let is_type = matches!(plan.companions, Companions::Type(_));
    let is_generic = plan.named.generics.params.iter().any(|param| !matches!(param, GenericParam::Lifetime(_)));
    let is_unsafe = matches!(plan.function.sig.safety, Safety::Unsafe(_));
    valid && is_type && !(is_generic || is_unsafe || plan.is_opaque || plan.is_async() || plan.is_process())
}

/// The type of the function of a map, which its companion names.
fn named_type(plan: &Plan, item: &Type) -> TokenStream {
    let (private, result) = (&plan.private, &plan.named.output);
    let Companions::Type(companion) = &plan.companions else { unreachable!("only a type implements the trait") };
    quote!(#private::NamedFn<#companion, #item, #result>)
}

/// The receiver that each item gets, unless the items are the receivers.
fn shared_receiver(plan: &Plan) -> Option<(&Receiver, &Argument)> {
    match (&plan.receiver, &*plan.arguments) {
        (Some(receiver), [this, _, ..]) if receiver.serves_many() => Some((receiver, this)),
        _ => None,
    }
}

/// The type of an item: that of the only argument, or a tuple.
fn item_type(plan: &Plan, skips_receiver: bool) -> Type {
    match &plan.named.inputs[usize::from(skips_receiver)..] {
        [ty] => ty.clone(),
        types => parse_quote!((#(#types,)*)),
    }
}

/// The names of an item's parts.
fn pattern(plan: &Plan) -> TokenStream {
    match &*names(plan) {
        [name] => quote!(#name),
        names => quote!((#(#names,)*)),
    }
}
