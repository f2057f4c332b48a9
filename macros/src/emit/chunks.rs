//! The calls of a function with `chunks` or `chunk_size`: how arguments are cut and results gathered.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Expr, Ident, Type};

use super::body::run;
use super::call_site::checked_call;
use super::{param_name, process, respan, ty_or_infer};
use crate::options::Cut;
use crate::plan::{Argument, Plan};

// call_chunks(
//     scale::__call(),
//     chunking(Cut::Chunks(4), cutter::<&[f64]>(&ChunkStorage::new()), gatherer::<Vec<f64>>()),
//     xs,
//     |xs| (xs, broadcast::<f64>(&factor)),
//     |(xs, factor)| scale::serial(xs, factor),
// )
pub(super) fn call(plan: &Plan, cut: &Cut) -> TokenStream {
    call_here(plan, &cut_size(plan, cut), &Signature::of_call(plan))
}

/// The direct call as a task, which owns the arguments.
pub(super) fn call_as_task(plan: &Plan, cut: &Cut) -> TokenStream {
    call_here(plan, &cut_size(plan, cut), &Signature::of_task(plan))
}

/// The direct call inside of a submitted task.
pub(super) fn call_in_task(plan: &Plan, cut: &Cut) -> TokenStream {
    call_here(plan, &unchecked_size(plan, cut), &Signature::of_task(plan))
}

/// The arguments and the result of a call.
struct Signature {
    value: fn(&Argument) -> TokenStream,
    /// The types of the arguments.
    types: Vec<Type>,
    result: Type,
}

impl Signature {
    fn of_call(plan: &Plan) -> Self {
        let types = plan.arguments.iter().map(|argument| argument.ty.clone()).collect();
        Self { value: |argument| argument.value.clone(), types, result: plan.result.clone() }
    }

    /// That of a call inside of a task, where the function's lifetimes have no names. The task borrows its receiver.
    fn of_task(plan: &Plan) -> Self {
        let types = plan.arguments.iter().zip(&plan.owned.inputs);
        let types =
            types.map(|(argument, owned)| without_lifetime(if argument.is_receiver { &argument.ty } else { owned }));
        let result = plan.owned.output.clone();
        Self { value: |argument| argument.ident.to_token_stream(), types: types.collect(), result }
    }
}

fn call_here(plan: &Plan, cut: &TokenStream, signature: &Signature) -> TokenStream {
    if plan.is_process() {
        call_entry(plan, cut, &quote!(call_chunks_process), &process::site_and_remote(plan), None, signature)
    } else {
        call_entry(plan, cut, &quote!(call_chunks), &checked_call(plan), Some(&run(plan)), signature)
    }
}

/// The same call on the pool of this name.
pub(super) fn call_on(plan: &Plan, cut: &Cut, pool: &Ident) -> TokenStream {
    let cut = unchecked_size(plan, cut);
    let signature = Signature { value: |argument| argument.ident.to_token_stream(), ..Signature::of_call(plan) };
    if plan.is_process() {
        let call = process::site_and_remote(plan);
        return call_entry(plan, &cut, &quote!(call_chunks_process_on), &quote!(#pool, #call), None, &signature);
    }
    let call = checked_call(plan);
    call_entry(plan, &cut, &quote!(call_chunks_on), &quote!(#pool, #call), Some(&run(plan)), &signature)
}

/// `chunks = N` as a `Cut`. The direct call has the check of the number by the compiler, which would report a 0 twice. A
/// number of a wrong type is at the same tokens in both, and so reported once.
fn unchecked_size(plan: &Plan, cut: &Cut) -> TokenStream {
    let private = &plan.private;
    let checked = |number: &Expr, what: &str| {
        let check = respan(&quote!(#private::at_least_one), number.span());
        quote_spanned!(number.span()=> #check(#number, #what))
    };
    match cut {
        Cut::Auto => quote!(#private::Cut::Auto),
        Cut::Chunks(number) => {
            let number = checked(number, "`chunks` is 0");
            quote!(#private::Cut::Chunks(#number))
        }
        Cut::Size(number) => {
            let number = checked(number, "`chunk_size` is 0");
            quote!(#private::Cut::Size(#number))
        }
    }
}

/// A call of that entry of the runtime.
fn call_entry(
    plan: &Plan,
    cut: &TokenStream,
    entry: &TokenStream,
    call: &TokenStream,
    run: Option<&TokenStream>,
    signature: &Signature,
) -> TokenStream {
    let private = &plan.private;
    let cutter = cutter(plan, signature);
    let gatherer = gatherer(plan, &signature.result);
    let (values, piece) = (chunked(plan, signature.value), chunked(plan, |argument| argument.ident.to_token_stream()));
    let args = plan.arguments.iter().zip(&signature.types).map(|(argument, ty)| {
        let (ident, value) = (&argument.ident, (signature.value)(argument));
        if argument.is_chunked {
            return quote!(#ident);
        }
        let ty = ty_or_infer(ty);
        quote_spanned!(argument.ty.span()=> #private::broadcast::<#ty>(&#value))
    });
    quote! {
        #private::#entry(
            #call,
            #private::chunking(#cut, #cutter, #gatherer),
            #values,
            |#piece| (#(#args,)*),
            #run
        )
    }
}

/// `chunks = N` as a `Cut`. The compiler checks that `N` is at least 1: in a `const` item, or for each instance where
/// `N` names a generic.
fn cut_size(plan: &Plan, cut: &Cut) -> TokenStream {
    let private = &plan.private;
    let (variant, number, what) = match cut {
        Cut::Auto => return quote!(#private::Cut::Auto),
        Cut::Chunks(number) => ("Chunks", number, "`chunks` must be at least 1: nothing can be cut into 0 chunks"),
        Cut::Size(number) => ("Size", number, "`chunk_size` must be at least 1: a chunk of 0 items would never end"),
    };
    let variant = Ident::new(variant, Span::call_site());
    let names: Vec<_> = plan.function.sig.generics.params.iter().map(|param| param_name(param).to_string()).collect();
    let generic = quote!(#number).into_iter().any(|token| {
        let token = token.to_string();
        token == "Self" || names.contains(&token)
    });
    let check = respan(&quote!(#private::at_least_one), number.span());
    let number = if generic {
        quote_spanned!(number.span()=> const { #check(#number, #what) })
    } else {
        quote_spanned!(number.span()=> { const NUMBER: usize = #check(#number, #what); NUMBER })
    };
    quote!(#private::Cut::#variant(#number))
}

/// The cutter of the chunked arguments: of one, or nested pairs of several.
fn cutter(plan: &Plan, signature: &Signature) -> TokenStream {
    let private = &plan.private;
    let cutters = plan.arguments.iter().zip(&signature.types).filter(|(argument, _)| argument.is_chunked);
    let cutters = cutters.map(|(argument, ty)| {
        let ty = ty_or_infer(&without_lifetime(ty));
        let storage = quote!(&#private::ChunkStorage::new());
        match (&plan.options.by, &plan.options.overlap) {
            (Some((_, keys)), _) => {
                quote_spanned!(argument.ty.span()=> #private::cutter_by::<#ty>(&[#(#keys),*], #storage))
            }
            (_, Some((_, rows))) => {
                quote_spanned!(argument.ty.span()=> #private::cutter_overlapping::<#ty>(#rows, #storage))
            }
            _ => quote_spanned!(argument.ty.span()=> #private::cutter::<#ty>(#storage)),
        }
    });
    cutters.reduce(|first, second| quote!(#private::CutterPair(#first, #second))).unwrap_or_default()
}

/// A reference without its lifetime's name: its pieces may live as long as the call only.
fn without_lifetime(ty: &Type) -> Type {
    let mut ty = ty.clone();
    if let Type::Reference(reference) = &mut ty {
        reference.lifetime = None;
    }
    ty
}

/// The chunked arguments, nested in the same pairs as their cutters.
fn chunked(plan: &Plan, part: fn(&Argument) -> TokenStream) -> TokenStream {
    let parts = plan.arguments.iter().filter(|argument| argument.is_chunked).map(part);
    parts.reduce(|first, second| quote!((#first, #second))).unwrap_or_default()
}

fn gatherer(plan: &Plan, result: &Type) -> TokenStream {
    let private = &plan.private;
    let result = ty_or_infer(result);
    if let Some((_, rows)) = &plan.options.overlap {
        return quote_spanned!(plan.result.span()=> #private::gatherer_overlapping::<#result>(#rows));
    }
    match &plan.options.reduce {
        Some((_, path)) => quote_spanned!(path.span()=> #private::reducer::<#result, _, _>(#path)),
        None => quote_spanned!(plan.result.span()=> #private::gatherer::<#result>()),
    }
}
