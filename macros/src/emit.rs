//! The generated code: the function that calls a worker, and the type beside it.

use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, FnArg, Generics, Ident, Pat, PatIdent, Safety, Signature, Type};

use crate::check::is_never;
use crate::options::{Cut, Kind};
use crate::plan::Plan;
use crate::{futures, process};

/// The code for a plan; with mistakes in it, everything that other code may name, but nothing that runs.
pub(crate) fn emit(plan: &Plan, valid: bool) -> TokenStream {
    if !plan.has_companion {
        return verbatim(plan);
    }
    let function = if valid { direct(plan) } else { verbatim(plan) };
    let companion = companion(plan, valid);
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

// fn add(a: u32, b: u32) -> u32 { a + b }
//
// becomes
//
// fn add(a: u32, b: u32) -> u32 {
//     call(add::__site(), add::__sent(), (a, b,), |(a, b,)| add::serial(a, b,))
// }
fn direct(plan: &Plan) -> TokenStream {
    let Plan { companion, private, .. } = plan;
    let (attrs, vis) = (&plan.function.attrs, &plan.function.vis);
    let sig = plain_signature(plan);
    let names = names(plan);
    let impls = plan.turbofish(plan.impls());
    let (proof, run) = if plan.is_process() {
        (process::proof(&quote!(#companion)), quote!())
    } else {
        (quote!(#companion::__site(), #companion::__sent #impls()), run(plan, &quote!(#companion)))
    };
    let call = match &plan.options.cut {
        None if plan.is_process() => quote!(#private::call_process(#proof, (#(#names,)*))),
        None if plan.options.timeout.is_some() => {
            let late = late(plan);
            quote!(#private::call_timed(#proof, #late, (#(#names,)*), #run))
        }
        None => quote!(#private::call(#proof, (#(#names,)*), #run)),
        Some(cut) => {
            let cut = cut_size(plan, cut);
            let (cutter, whole) = chunked(plan);
            let joiner = joiner(plan);
            let args = plan.arguments.iter().map(|argument| {
                let ident = &argument.ident;
                if argument.chunked {
                    return quote!(#ident);
                }
                let ty = ty_or_infer(&argument.ty);
                quote_spanned!(argument.ty.span()=> #private::broadcast::<#ty>(&#ident))
            });
            let entry = if plan.is_process() { quote!(call_chunks_process) } else { quote!(call_chunks) };
            quote! {
                #private::#entry(
                    #proof,
                    #private::chunking(#cut, #cutter, #joiner),
                    #whole,
                    |#whole| (#(#args,)*),
                    #run
                )
            }
        }
    };
    let call = if plan.is_async() { futures::direct(plan) } else { call };
    let call = if is_never(&plan.result) { quote!(match #call {}) } else { call };
    // The block stands where the user's did: lints that speak of the function point there.
    let body = quote_spanned!(plan.function.body.span()=> { #call });
    quote!(#(#attrs)* #vis #sig #body)
}

// enum add {}
//
// impl add {
//     fn __site() -> Site { .. }      what the runtime is told
//     fn __sent() -> Crossing { .. }  the one place where types are checked
//     pub fn serial(..), submit(..), map(..)
// }
fn companion(plan: &Plan, valid: bool) -> TokenStream {
    let Plan { companion, function, .. } = plan;
    let vis = &function.vis;
    let name = function.sig.ident.to_string();
    let about = format!("The other ways to call [`{name}()`]: `serial`, `submit` and `map`.");
    let kept: Vec<_> = function.attrs.iter().filter(|attr| is_cfg(attr)).collect();
    let lints: Vec<_> = function.attrs.iter().filter_map(lint).collect();
    let (site, failed) = (site(plan), failed(plan, valid));
    let sent = match (plan.is_process(), valid) {
        (false, _) => sent(plan, valid),
        (true, true) => process::remote(plan),
        (true, false) => quote!(),
    };
    let serial = serial(plan, valid);
    let future = plan.is_async().then(|| futures::future(plan, valid));
    let (submit, map) = if valid || !(plan.is_async() || plan.is_process()) {
        (Some(submit(plan)), map(plan))
    } else {
        (Some(futures::submit_stub(plan)), None)
    };
    quote! {
        #(#kept)*
        #(#lints)*
        #[doc = #about]
        #[allow(non_camel_case_types)]
        #vis enum #companion {}
        #(#kept)*
        #(#lints)*
        #[allow(clippy::must_use_candidate, clippy::missing_const_for_fn)]
        impl #companion {
            #site
            #sent
            #failed
            #serial
            #future
            #submit
            #map
        }
    }
}

fn site(plan: &Plan) -> TokenStream {
    let private = &plan.private;
    let name = plan.function.sig.ident.to_string();
    let pool = match (&plan.options.pool, plan.options.kind) {
        (Some(path), _) => quote_spanned!(path.span()=> &#path),
        (None, Some(Kind::Io)) => quote!(#private::Pool::io_default()),
        (None, Some(Kind::Process)) if cfg!(feature = "process") => quote!(#private::Pool::process_default()),
        (None, _) => quote!(#private::Pool::cpu_default()),
    };
    let progress = plan.options.progress.as_ref().map(|label| {
        let label = quote_spanned!(label.span()=> #private::label::<()>(#label));
        quote!(.progress(#label))
    });
    let timeout = plan.options.timeout.as_ref().map(|(_, nanoseconds)| quote!(.timeout(#nanoseconds)));
    let stateful = plan.worker.map(|_| quote!(.stateful()));
    quote! {
        const __NAME: &'static ::core::primitive::str = ::core::concat!(::core::module_path!(), "::", #name);
        fn __site() -> #private::Site {
            #private::Site::new(Self::__NAME, #pool) #progress #timeout #stateful
        }
    }
}

/// What a call that ran out of time returns.
pub(crate) fn late(plan: &Plan) -> TokenStream {
    let (private, result) = (&plan.private, &plan.result);
    quote_spanned!(result.span()=> #private::late::<#result>())
}

/// Each type is checked where the user wrote it, and nowhere else.
fn sent(plan: &Plan, valid: bool) -> TokenStream {
    let private = &plan.private;
    let (params, clause) = parts(&plan.named_generics);
    let types = plan.arguments.iter().map(|argument| &argument.named);
    let result = &plan.result_named;
    let proof = if valid {
        let arguments = plan.arguments.iter().map(|argument| witness(private, &argument.named));
        let result = witness(private, result);
        quote!(#private::crossing((#(#arguments,)*), #result))
    } else {
        quote!(#private::unchecked())
    };
    // Naming the function here keeps it alive for the lint on dead code when only its companions are used.
    let keep = keep(plan);
    quote! {
        fn __sent #params() -> #private::Crossing<(#(#types,)*), #result> #clause {
            #keep
            #proof
        }
    }
}

/// What tells a failure that is worth a retry; asked for in one place, as in `sent`.
fn failed(plan: &Plan, valid: bool) -> Option<TokenStream> {
    let private = &plan.private;
    plan.options.retries.as_ref()?;
    let (params, clause) = parts(&plan.named_generics);
    let result = &plan.result_named;
    let failed = if valid {
        quote_spanned!(plan.result.span()=> #private::fallible::<#result>())
    } else {
        quote!(::core::unreachable!())
    };
    Some(quote! {
        fn __failed #params() -> fn(&#result) -> ::core::primitive::bool #clause {
            #failed
        }
    })
}

/// A closure that is never called, around the function's name.
pub(crate) fn keep(plan: &Plan) -> TokenStream {
    let mut name = plan.function.sig.ident.clone();
    name.set_span(Span::call_site().located_at(name.span()));
    if plan.impls() > 0 {
        return quote!();
    }
    let turbofish = plan.turbofish(0);
    quote!(let _ = || { let _ = #name #turbofish; };)
}

fn witness(private: &syn::Path, ty: &Type) -> TokenStream {
    let plain = |ty: &Type| quote_spanned!(ty.span()=> #private::sent::<#ty>());
    match ty {
        Type::Reference(reference) if reference.mutability.is_none() => match &*reference.elem {
            // Behind a reference an unnamed lifetime of `dyn Trait` means another one than alone.
            Type::TraitObject(_) | Type::Paren(_) => plain(ty),
            elem => quote_spanned!(elem.span()=> #private::shared::<#elem>()),
        },
        _ => plain(ty),
    }
}

fn serial(plan: &Plan, valid: bool) -> TokenStream {
    let vis = &plan.function.vis;
    let mut sig = plan.function.sig.clone();
    if !valid && plan.worker.is_none() {
        sig = plain_signature(plan);
    }
    sig.ident = generated("serial", &sig.ident);
    (sig.constness, sig.abi) = (None, None);
    let kept = plan
        .function
        .attrs
        .iter()
        .filter(|attr| ["must_use", "inline", "cold"].iter().any(|name| attr.path().is_ident(name)));
    let about = format!("Runs [`{}()`] here and now, without a worker.", plan.function.sig.ident);
    let body = if valid { body(plan) } else { quote!({ ::core::unreachable!() }) };
    // The result is for the time-out or the crash, if for nothing else.
    let wraps = plan.options.timeout.is_some() || plan.is_process();
    let wraps = wraps.then(|| quote!(#[allow(clippy::unnecessary_wraps)]));
    let unused = (!valid).then(|| quote!(#[allow(unused)]));
    quote! {
        #(#kept)*
        #wraps
        #unused
        #[doc = #about]
        #vis #sig #body
    }
}

/// The user's body, behind a mention of the function.
fn body(plan: &Plan) -> TokenStream {
    let body = &plan.function.body;
    let mut start = body.stream().into_iter();
    let is = |token: Option<TokenTree>, wanted| matches!(token, Some(TokenTree::Punct(p)) if p.as_char() == wanted);
    // Inner attributes must come first.
    if is(start.next(), '#') && is(start.next(), '!') {
        return quote!(#body);
    }
    let keep = keep(plan);
    // Braces of our own in the place of the user's: lints on needless braces would speak of them.
    let mut inner = Group::new(Delimiter::Brace, body.stream());
    inner.set_span(Span::call_site().located_at(body.span()));
    quote!({ #keep #inner })
}

fn submit(plan: &Plan) -> TokenStream {
    let Plan { private, function, .. } = plan;
    let (vis, unsafety) = (&function.vis, unsafety(&function.sig));
    let ident = generated("submit", &function.sig.ident);
    let about = format!("Queues a call of [`{}()`] and returns a task to join or await.", function.sig.ident);
    let (params, clause) = parts(&plan.owned_generics);
    let names = names(plan);
    let types = plan.arguments.iter().map(|argument| &argument.owned);
    let result = &plan.result_owned;
    let impls = plan.turbofish(plan.impls());
    let entry = if plan.is_async() { quote!(submit_async) } else { quote!(submit) };
    let call = if plan.is_process() {
        let proof = process::proof(&quote!(Self));
        quote!(#private::submit_process(#proof, (#(#names,)*)))
    } else {
        let run = run(plan, &quote!(Self));
        quote!(#private::#entry(Self::__site(), Self::__sent #impls(), (#(#names,)*), #run))
    };
    quote! {
        #[doc = #about]
        #vis #unsafety fn #ident #params(#(#names: #types),*) -> #private::Task<#result> #clause {
            #call
        }
    }
}

fn map(plan: &Plan) -> Option<TokenStream> {
    let Plan { private, function, .. } = plan;
    if plan.arguments.is_empty() {
        return None;
    }
    let (vis, unsafety) = (&function.vis, unsafety(&function.sig));
    let ident = generated("map", &function.sig.ident);
    let about = format!("Runs [`{}()`] on many items; lazy until it is ended.", function.sig.ident);
    let mut generics = plan.named_generics.clone();
    let (items, marker) = (format_ident!("__Items"), format_ident!("__Marker"));
    generics.params.push(syn::parse_quote!(#items));
    generics.params.push(syn::parse_quote!(#marker));
    let types = plan.arguments.iter().map(|argument| &argument.named);
    let (item, single) = match plan.arguments.len() {
        1 => (quote!(#(#types)*), quote!(.single())),
        _ => (quote!((#(#types,)*)), quote!()),
    };
    generics.make_where_clause().predicates.push(syn::parse_quote!(#items: #private::Items<#item, #marker>));
    let captured: Vec<_> = generics.params.iter().map(param_name).collect();
    let (params, clause) = parts(&generics);
    let result = &plan.result_named;
    let names = names(plan);
    let pattern = if names.len() == 1 { quote!(#(#names)*) } else { quote!((#(#names,)*)) };
    let call = call_body(plan, &quote!(Self));
    let impls = plan.turbofish(plan.impls());
    let late = plan.options.timeout.as_ref().map(|_| late(plan)).map(|late| quote!(#late,));
    let (map, function, into) = match (plan.is_async(), &late) {
        (false, None) => (quote!(Map), quote!(Detach), quote!(map)),
        (false, Some(_)) => (quote!(TimedMap), quote!(Detach), quote!(map_timed)),
        (true, None) => (quote!(AsyncMap), quote!(MapFuture), quote!(map_async)),
        (true, Some(_)) => (quote!(AsyncMap), quote!(MapFuture), quote!(map_async_timed)),
    };
    let (map, function, end) = if plan.is_process() {
        let arguments = process::map_arguments(plan);
        (quote!(Map), quote!(Detach), quote!(#private::map_process(#arguments, items)))
    } else {
        let proof = quote!(Self::__site(), Self::__sent #impls() #single);
        (map, function, quote!(#private::#into(#proof, #late items, |#pattern| #call)))
    };
    Some(quote! {
        #[doc = #about]
        #vis #unsafety fn #ident #params(items: #items) -> #private::#map<
            #items::Source,
            impl #private::#function<#item, Out = #result> + use<#(#captured),*>,
            #item,
        > #clause {
            #end
        }
    })
}

/// The closure that runs the body: `|(a, b,)| add::serial(a, b)`.
pub(crate) fn run(plan: &Plan, companion: &TokenStream) -> TokenStream {
    let names = names(plan);
    let call = call_body(plan, companion);
    quote!(|(#(#names,)*)| #call)
}

/// What a worker runs, or the future that a runtime polls.
fn call_body(plan: &Plan, companion: &TokenStream) -> TokenStream {
    if plan.is_async() { futures::call(plan, companion) } else { call_serial(plan, companion) }
}

/// The call of the body: once, or again until it succeeds; with the worker's state, where it has one.
pub(crate) fn call_serial(plan: &Plan, companion: &TokenStream) -> TokenStream {
    let private = &plan.private;
    let mut values: Vec<_> = plan
        .arguments
        .iter()
        .map(|argument| {
            let ident = &argument.ident;
            match &plan.options.retries {
                Some(_) => {
                    let again = respan(&quote!(#private::again), argument.ty.span());
                    quote_spanned!(argument.ty.span()=> #again(&#ident))
                }
                None => quote!(#ident),
            }
        })
        .collect();
    let state = Ident::new("__state", Span::mixed_site());
    if let Some(place) = plan.worker {
        values.insert(place, quote!(#state));
    }
    let turbofish = plan.turbofish(0);
    let mut call = quote!(#companion::serial #turbofish(#(#values),*));
    if let Safety::Unsafe(_) = plan.function.sig.safety {
        call = quote!(unsafe { #call });
    }
    if let (Some(ty), Some((_, init))) = (&plan.state, &plan.options.init) {
        let with_state = respan(&quote!(#private::with_state), init.span());
        call = quote!(#with_state::<#ty, _, _, _>(#companion::__NAME, #init, |#state| #call));
    }
    if let Some(times) = &plan.options.retries {
        let backoff = plan.options.backoff.as_ref().map_or(0, |(_, nanoseconds)| *nanoseconds);
        let impls = plan.turbofish(plan.impls());
        let again = if plan.is_async() { quote!(run_async(move || #call)) } else { quote!(run(|| #call)) };
        call = quote!(#private::Retry::new(#times, #backoff, #companion::__failed #impls()).#again);
    }
    call
}

/// `chunks = N` as a value that is at least 1; found out at compile time where `N` names no generic.
fn cut_size(plan: &Plan, cut: &Cut) -> TokenStream {
    let private = &plan.private;
    let (variant, number, what) = match cut {
        Cut::Auto => return quote!(#private::Cut::Auto),
        Cut::Chunks(number) => ("Chunks", number, "`chunks` must be at least 1: nothing can be cut into 0 chunks"),
        Cut::Size(number) => ("Size", number, "`chunk_size` must be at least 1: a chunk of 0 items would never end"),
    };
    let variant = Ident::new(variant, Span::call_site());
    let generic = plan.function.sig.generics.params.iter().any(|param| {
        let name = param_name(param).to_string();
        quote!(#number).into_iter().any(|token| token.to_string() == name)
    });
    let check = respan(&quote!(#private::at_least_one), number.span());
    let number = if generic {
        quote_spanned!(number.span()=> const { #check(#number, #what) })
    } else {
        quote_spanned!(number.span()=> { const NUMBER: usize = #check(#number, #what); NUMBER })
    };
    quote!(#private::Cut::#variant(#number))
}

/// What cuts the chunked arguments, and the arguments: one alone, or pairs of pairs.
fn chunked(plan: &Plan) -> (TokenStream, TokenStream) {
    let private = &plan.private;
    let parts = plan.arguments.iter().filter(|argument| argument.chunked).map(|argument| {
        let (ty, ident) = (ty_or_infer(&argument.ty), &argument.ident);
        (quote_spanned!(argument.ty.span()=> #private::cutter::<#ty>()), quote!(#ident))
    });
    parts
        .reduce(|(cutters, idents), (cutter, ident)| {
            (quote!(#private::Both(#cutters, #cutter)), quote!((#idents, #ident)))
        })
        .unwrap_or_default()
}

fn joiner(plan: &Plan) -> TokenStream {
    let (private, result) = (&plan.private, &plan.result);
    match &plan.options.reduce {
        Some((_, path)) => quote!(#private::reducer::<#result>(#path)),
        None => quote_spanned!(result.span()=> #private::gatherer::<#result>()),
    }
}

/// Generated tokens that an error is to show at the user's.
fn respan(tokens: &TokenStream, span: Span) -> TokenStream {
    let mut tokens: Vec<_> = tokens.clone().into_iter().collect();
    tokens.iter_mut().for_each(|token| token.set_span(token.span().located_at(span)));
    tokens.into_iter().collect()
}

fn ty_or_infer(ty: &Type) -> TokenStream {
    if crate::types::contains_impl(ty) { quote!(_) } else { quote!(#ty) }
}

/// The signature with a plain name for each argument.
fn plain_signature(plan: &Plan) -> Signature {
    let mut sig = plan.function.sig.clone();
    if let Some(place) = plan.worker {
        sig.inputs =
            sig.inputs.into_iter().enumerate().filter(|(index, _)| *index != place).map(|(_, input)| input).collect();
    }
    let arguments = sig.inputs.iter_mut().filter_map(|input| match input {
        FnArg::Typed(argument) => Some(argument),
        FnArg::Receiver(_) => None,
    });
    for (argument, planned) in arguments.zip(&plan.arguments) {
        *argument.pat = Pat::Ident(PatIdent {
            attrs: Vec::new(),
            by_ref: None,
            mutability: None,
            ident: planned.ident.clone(),
            subpat: None,
        });
    }
    sig
}

pub(crate) fn names(plan: &Plan) -> Vec<&Ident> {
    plan.arguments.iter().map(|argument| &argument.ident).collect()
}

/// A name that users can write, and whose definition is the annotated function's.
pub(crate) fn generated(name: &str, function: &Ident) -> Ident {
    Ident::new(name, Span::call_site().located_at(function.span()))
}

pub(crate) fn unsafety(sig: &Signature) -> Option<TokenStream> {
    matches!(sig.safety, Safety::Unsafe(_)).then(|| quote!(unsafe))
}

pub(crate) fn parts(generics: &Generics) -> (syn::ImplGenerics<'_>, Option<&syn::WhereClause>) {
    let (params, _, clause) = generics.split_for_impl();
    (params, clause)
}

pub(crate) fn param_name(param: &syn::GenericParam) -> TokenStream {
    match param {
        syn::GenericParam::Lifetime(param) => {
            let lifetime = &param.lifetime;
            quote!(#lifetime)
        }
        syn::GenericParam::Type(param) => {
            let ident = &param.ident;
            quote!(#ident)
        }
        syn::GenericParam::Const(param) => {
            let ident = &param.ident;
            quote!(#ident)
        }
    }
}

fn is_cfg(attr: &Attribute) -> bool {
    attr.path().is_ident("cfg")
}

/// A lint attribute for the companion, where an expected lint need not fire.
fn lint(attr: &Attribute) -> Option<TokenStream> {
    let path = attr.path();
    if ["allow", "warn", "deny", "forbid"].iter().any(|level| path.is_ident(level)) {
        return Some(quote!(#attr));
    }
    let list = attr.meta.require_list().ok().filter(|_| path.is_ident("expect"))?;
    let lints = &list.tokens;
    Some(quote!(#[allow(#lints)]))
}
