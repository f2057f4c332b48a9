//! `#[fanfold::main]`, and `fanfold::process_tests!()`.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{Attribute, Error, ItemFn, Path, parse_quote};

// #[tokio::main] async fn main() { .. }
//
// becomes
//
// fn main() {
//     fanfold::init();
//     #[tokio::main] async fn main() { .. }
//     main()
// }
pub(crate) fn expand(options: TokenStream, item: &TokenStream) -> TokenStream {
    let function: ItemFn = match syn::parse2(item.clone()) {
        Ok(function) => function,
        Err(error) => {
            let hint =
                Error::new(error.span(), "`#[fanfold::main]` goes on a function: `#[fanfold::main] fn main() { .. }`");
            let error = hint.to_compile_error();
            return quote!(#item #error);
        }
    };
    let krate = match krate(options) {
        Ok(krate) => krate,
        Err(error) => {
            let error = error.to_compile_error();
            return quote!(#item #error);
        }
    };
    let (vis, ident, output) = (&function.vis, &function.sig.ident, &function.sig.output);
    let mut inner = function.clone();
    inner.vis = syn::Visibility::Inherited;
    if let Some(error) = refuse(&function) {
        let error = error.to_compile_error();
        // A `main` that rustc accepts, so that this error is the only one.
        return quote! {
            #error
            #vis fn #ident() #output {
                #[allow(unused)]
                #inner
                ::core::unreachable!()
            }
        };
    }
    let name = syn::Ident::new(&ident.to_string(), Span::mixed_site().located_at(ident.span()));
    quote! {
        #vis fn #ident() #output {
            #krate::init();
            #inner
            #name()
        }
    }
}

/// The error of a function that cannot be `main`.
fn refuse(function: &ItemFn) -> Option<Error> {
    if let Some(input) = function.sig.inputs.first() {
        return Some(Error::new_spanned(input, "`main` takes no arguments: read them from `std::env::args()`"));
    }
    // An attribute below this one, such as `tokio::main`, makes an async function a plain one. Without one, an async
    // function cannot be `main`.
    let token = function.sig.asyncness.filter(|_| function.attrs.iter().all(leaves_async))?;
    let message =
        "`main` cannot be `async` by itself: put `#[tokio::main]`, or another runtime's, below `#[fanfold::main]`";
    Some(Error::new_spanned(token, message))
}

/// Whether the attribute is known to keep an async function async.
fn leaves_async(attr: &Attribute) -> bool {
    const KNOWN: [&str; 14] = [
        "allow",
        "cfg",
        "clippy",
        "cold",
        "deny",
        "deprecated",
        "doc",
        "expect",
        "forbid",
        "inline",
        "instrument",
        "must_use",
        "rustfmt",
        "warn",
    ];
    // The first segment, for `rustfmt::skip`; and the last one, for `tracing::instrument`.
    let path = &attr.path().segments;
    [path.first(), path.last()].into_iter().flatten().any(|name| KNOWN.iter().any(|known| name.ident == known))
}

/// The path of `fanfold`: that of `crate = "path"`, or the default.
fn krate(options: TokenStream) -> syn::Result<Path> {
    if options.is_empty() {
        return Ok(parse_quote!(::fanfold));
    }
    let parser = |input: syn::parse::ParseStream| {
        input.parse::<syn::Token![crate]>()?;
        input.parse::<syn::Token![=]>()?;
        let text: syn::LitStr = input.parse()?;
        text.parse()
    };
    syn::parse::Parser::parse2(parser, options).map_err(|error| {
        Error::new(error.span(), "`#[fanfold::main]` has one option, where fanfold was renamed: `crate = \"path\"`")
    })
}
