//! The annotated function: its signature parsed, its body kept as tokens.

use proc_macro2::{Group, TokenStream};
use syn::parse::{Parse, ParseStream, Parser};
use syn::{Attribute, Error, Signature, Token, Visibility};

/// A function with an untouched body: code that is still being typed need not parse.
pub(crate) struct Function {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    pub(crate) body: Group,
}

/// Parses the item under the attribute.
pub(crate) fn parse(item: TokenStream) -> syn::Result<Function> {
    function.parse2(item)
}

fn function(input: ParseStream) -> syn::Result<Function> {
    let attrs = input.call(Attribute::parse_outer)?;
    let vis: Visibility = input.parse()?;
    if !looks_like_function(input) {
        return Err(input.error("`#[parallel]` goes on a function: `#[parallel(kind = \"cpu\")] fn name(..) { .. }`"));
    }
    let sig = Signature::parse(input)?;
    if let Some(semicolon) = input.parse::<Option<Token![;]>>()? {
        let message = "`#[parallel]` needs a function with a body: there is nothing here to run";
        return Err(Error::new_spanned(semicolon, message));
    }
    let body: Group = input.parse()?;
    Ok(Function { attrs, vis, sig, body })
}

/// Whether a function's signature comes, with any qualifiers before `fn`.
fn looks_like_function(input: ParseStream) -> bool {
    input.peek(Token![fn])
        || (input.peek(Token![const]) && !input.peek3(Token![:]))
        || input.peek(Token![async])
        || input.peek(Token![unsafe])
        || input.peek(Token![extern])
}
