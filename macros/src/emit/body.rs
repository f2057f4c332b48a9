//! The user's body as `serial`, and the calls of it.

use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};
use quote::{quote, quote_spanned};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Attribute, Ident, Meta, Safety, Token};

use super::call_site::{mention, path};
use super::{names, plain_signature, respan, values};
use crate::options::Init;
use crate::plan::{Companions, Plan};

/// `serial`: the function as the user wrote it.
pub(super) fn serial(plan: &Plan, valid: bool) -> TokenStream {
    let vis = &plan.vis;
    let mut sig = plan.function.sig.clone();
    if !valid && plan.worker.is_none() {
        sig = plain_signature(plan);
    }
    sig.ident = plan.name("serial");
    (sig.constness, sig.abi) = (None, None);
    let copied = plan
        .function
        .attrs
        .iter()
        .filter(|attr| ["must_use", "inline", "cold"].iter().any(|name| attr.path().is_ident(name)));
    let expected = plan.function.attrs.iter().filter_map(expected_of_body);
    let about = format!("Runs [`{}()`] here and now, without a worker.", link(plan));
    let body = match valid {
        true => body(plan),
        // No other value has the result's type than one that the function itself returns.
        false if plan.is_opaque && plan.worker.is_none() => call_of_function(plan),
        false => quote!({ ::core::unreachable!() }),
    };
    // A body that never fails returns a `Result` for the time-out or the crash alone.
    let wraps = plan.options.is_timed() || plan.is_process();
    let wraps = wraps.then(|| quote!(#[allow(clippy::unnecessary_wraps)]));
    let unused = (!valid).then(|| quote!(#[allow(unused)]));
    quote! {
        #(#copied)*
        #(#expected)*
        #wraps
        #unused
        #[doc = #about]
        #vis #sig #body
    }
}

/// A body that calls the function by its own name.
fn call_of_function(plan: &Plan) -> TokenStream {
    let owner = if let Companions::Impl = plan.companions { quote!(Self::) } else { quote!() };
    let (name, turbofish, values) = (&plan.function.sig.ident, plan.turbofish(0), values(plan));
    let call = quote!(#owner #name #turbofish(#(#values),*));
    if let Safety::Unsafe(_) = plan.function.sig.safety { quote!({ unsafe { #call } }) } else { quote!({ #call }) }
}

/// `#[expect(..)]` of the compiler's lints that can fire nowhere but in a body.
fn expected_of_body(attr: &Attribute) -> Option<TokenStream> {
    const LINTS: [&str; 14] = [
        "deprecated",
        "dropping_copy_types",
        "dropping_references",
        "path_statements",
        "unreachable_code",
        "unreachable_patterns",
        "unused_assignments",
        "unused_labels",
        "unused_macros",
        "unused_must_use",
        "unused_mut",
        "unused_parens",
        "unused_unsafe",
        "unused_variables",
    ];
    let list = attr.meta.require_list().ok().filter(|_| attr.path().is_ident("expect"))?;
    let parts = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).ok()?;
    let is_reason = |part: &&Meta| part.path().is_ident("reason");
    let lints: Vec<_> = parts.iter().filter(|part| LINTS.iter().any(|lint| part.path().is_ident(lint))).collect();
    let reason = parts.iter().filter(is_reason);
    let expect = attr.path();
    (!lints.is_empty()).then(|| quote!(#[#expect(#(#lints,)* #(#reason)*)]))
}

/// The function as a documentation link.
pub(super) fn link(plan: &Plan) -> String {
    let name = &plan.function.sig.ident;
    if let Companions::Impl = plan.companions { format!("Self::{name}") } else { name.to_string() }
}

/// The user's body, after a mention of the function.
fn body(plan: &Plan) -> TokenStream {
    let body = &plan.function.body;
    let mut start = body.stream().into_iter();
    let is = |token: Option<TokenTree>, wanted| matches!(token, Some(TokenTree::Punct(p)) if p.as_char() == wanted);
    // Inner attributes must come first.
    if is(start.next(), '#') && is(start.next(), '!') {
        return quote!(#body);
    }
    // A parameter with the function's name shadows the function.
    let inputs = &plan.function.sig.inputs;
    let mention = (!mentions(quote!(#inputs), &plan.function.sig.ident)).then(|| mention(plan));
    // Generated braces replace the user's, which a lint on needless braces would report.
    let mut inner = Group::new(Delimiter::Brace, body.stream());
    inner.set_span(Span::call_site().located_at(body.span()));
    quote!({ #mention #inner })
}

/// Whether the tokens contain an identifier.
fn mentions(tokens: TokenStream, wanted: &Ident) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == *wanted,
        TokenTree::Group(group) => mentions(group.stream(), wanted),
        _ => false,
    })
}

/// The closure that runs the body: `|(a, b,)| add::serial(a, b)`.
pub(super) fn run(plan: &Plan) -> TokenStream {
    let names = names(plan);
    let call = call(plan);
    quote!(|(#(#names,)*)| #call)
}

/// The call that a worker runs, or that makes the future that a runtime polls.
pub(super) fn call(plan: &Plan) -> TokenStream {
    if plan.is_async() { call_future(plan) } else { call_serial(plan) }
}

/// The call that makes the future.
fn call_future(plan: &Plan) -> TokenStream {
    let names = names(plan);
    let turbofish = plan.turbofish(plan.impls());
    let future = plan.path("__future");
    let call = quote!(#future #turbofish(#(#names),*));
    // SAFETY of the emitted code: the caller of the unsafe function upholds its contract; so below.
    if let Safety::Unsafe(_) = plan.function.sig.safety { quote!(unsafe { #call }) } else { call }
}

/// The call of the body, with its retries and its worker's state.
pub(super) fn call_serial(plan: &Plan) -> TokenStream {
    let private = &plan.private;
    let mut values: Vec<_> = plan
        .arguments
        .iter()
        .map(|argument| {
            let ident = &argument.ident;
            match &plan.options.retries {
                Some(_) => {
                    let clone = respan(&quote!(#private::clone_for_retry), argument.ty.span());
                    quote_spanned!(argument.ty.span()=> #clone(&#ident))
                }
                None => quote!(#ident),
            }
        })
        .collect();
    let state = Ident::new("__state", Span::mixed_site());
    if let Some(index) = plan.worker {
        values.insert(index, quote!(#state));
    }
    let turbofish = plan.turbofish(0);
    let serial = plan.path("serial");
    let mut call = quote!(#serial #turbofish(#(#values),*));
    if let Safety::Unsafe(_) = plan.function.sig.safety {
        call = quote!(unsafe { #call });
    }
    if let (Some(ty), Some((_, init))) = (&plan.state, &plan.options.init) {
        let span = match init {
            Init::Function(path) => path.span(),
            Init::Call(call) => call.span(),
        };
        let with_state = respan(&quote!(#private::with_state), span);
        let (path, owner) = (path(plan), owner(plan));
        let generics = respan(&quote!(::<#owner, #ty, _, _, _>), span);
        let init = match init {
            Init::Function(path) => quote!(#path),
            Init::Call(call) => quote_spanned!(call.span()=> || #call),
        };
        call = quote!(#with_state #generics(#path, #init, |#state| #call));
    }
    if let Some(times) = &plan.options.retries {
        let backoff = plan.options.backoff.as_ref().map_or(0, |(_, nanoseconds)| *nanoseconds);
        let failed = if plan.is_opaque {
            quote_spanned!(plan.result.span()=> #private::fallible())
        } else {
            let (failed, impls) = (plan.path("__failed"), plan.turbofish(plan.impls()));
            quote!(#failed #impls())
        };
        let run = if plan.is_async() { quote!(run_async(move || #call)) } else { quote!(run(|| #call)) };
        call = quote!(#private::Retry::new(#times, #backoff, #failed).#run);
    }
    call
}

/// The type that identifies a worker's state, together with the function's path.
fn owner(plan: &Plan) -> TokenStream {
    match &plan.companions {
        Companions::Type(companion) => quote!(#companion),
        Companions::Impl | Companions::None => quote!(Self),
    }
}
