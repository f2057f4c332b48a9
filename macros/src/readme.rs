//! The README's examples of what is emitted, kept true.
//!
//! `FANFOLD_README=overwrite cargo test -p fanfold-macros` writes what the attribute emits now.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
const FENCE: &str = "```rust\n";
const END: &str = "```\n";

/// The item as the compiler would get it, as `cargo expand` would print it.
fn expanded(input: &str) -> String {
    let item: syn::Item = syn::parse_str(input).expect("an item");
    let expanded = match item {
        syn::Item::Fn(mut function) => {
            let options = take(&mut function.attrs);
            crate::expand(options, &function.to_token_stream())
        }
        syn::Item::Impl(mut block) => {
            let items = std::mem::take(&mut block.items).into_iter().map(|item| match item {
                syn::ImplItem::Fn(mut function) => {
                    let options = take(&mut function.attrs);
                    crate::expand(options, &function.to_token_stream())
                }
                other => other.to_token_stream(),
            });
            let items: TokenStream = items.collect();
            let mut tokens: Vec<TokenTree> = block.to_token_stream().into_iter().collect();
            tokens.pop();
            let head: TokenStream = tokens.into_iter().collect();
            quote::quote!(#head { #items })
        }
        _ => panic!("a function or a block of them"),
    };
    prettyplease::unparse(&syn::parse2(expanded).expect("what is emitted parses"))
}

/// The options of the attribute, which is removed.
fn take(attrs: &mut Vec<syn::Attribute>) -> TokenStream {
    let place = attrs.iter().position(|attr| attr.path().is_ident("parallel")).expect("an attribute");
    attrs.remove(place).meta.require_list().expect("options").tokens.clone()
}

#[test]
fn print() {
    println!("{}", expanded("#[parallel(kind = \"cpu\")] pub fn add(a: u32, b: u32) -> u32 { a + b }"));
}
