//! The annotated function: its signature parsed, its body kept as tokens.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use syn::parse::{Parse, ParseStream, Parser};
use syn::visit_mut::{self, VisitMut};
use syn::{Attribute, Error, Ident, Signature, Token, Type, TypeParen, Visibility};

/// A function whose body is kept as tokens: code that is still being typed need not parse.
pub(crate) struct Function {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    pub(crate) body: Group,
}

impl Function {
    /// The identifiers of the body in order, except those in nested items, where `Self` is another type.
    pub(crate) fn names_in_body(&self) -> Vec<Ident> {
        let mut names = Vec::new();
        names_outside_of_items(self.body.stream(), &mut names);
        names
    }
}

fn names_outside_of_items(tokens: TokenStream, names: &mut Vec<Ident>) {
    const ITEMS: [&str; 7] = ["impl", "trait", "struct", "enum", "union", "fn", "macro_rules"];
    let mut in_item = false;
    for token in tokens {
        match token {
            TokenTree::Ident(ident) if ITEMS.iter().any(|item| ident == item) => in_item = true,
            TokenTree::Ident(ident) if !in_item => names.push(ident),
            TokenTree::Group(group) if in_item => in_item = group.delimiter() != Delimiter::Brace,
            TokenTree::Group(group) => names_outside_of_items(group.stream(), names),
            TokenTree::Punct(punct) if punct.as_char() == ';' => in_item = false,
            _ => {}
        }
    }
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
    let mut sig = Signature::parse(input)?;
    Ungroup.visit_signature_mut(&mut sig);
    if let Some(semicolon) = input.parse::<Option<Token![;]>>()? {
        let message = "`#[parallel]` needs a function with a body: there is nothing here to run";
        return Err(Error::new_spanned(semicolon, message));
    }
    let body = body(input)?;
    Ok(Function { attrs, vis, sig, body })
}

/// The body with its braces. That of a macro's `$body:block` is inside a group with invisible delimiters.
fn body(input: ParseStream) -> syn::Result<Group> {
    let mut token: TokenTree = input.parse()?;
    loop {
        token = match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => return Ok(group),
            TokenTree::Group(group) if group.delimiter() == Delimiter::None => syn::parse2(group.stream())?,
            other => return Err(Error::new_spanned(other, "expected the function's body, in braces")),
        }
    }
}

/// Removes the invisible delimiters of a macro's `$ty:ty`, so that its type is read as if it were written here.
struct Ungroup;

impl VisitMut for Ungroup {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        while let Type::Group(group) = ty {
            let inner = (*group.elem).clone();
            // `&$ty` must not turn into `&dyn A + B`.
            let several = match &inner {
                Type::TraitObject(object) => object.bounds.len() > 1,
                Type::ImplTrait(opaque) => opaque.bounds.len() > 1,
                _ => false,
            };
            *ty = if several {
                let paren_token = syn::token::Paren::default();
                Type::Paren(TypeParen { attrs: Vec::new(), paren_token, elem: Box::new(inner) })
            } else {
                inner
            };
        }
        visit_mut::visit_type_mut(self, ty);
    }
}

/// Whether the next tokens are a function's signature: `fn`, or a qualifier of it.
fn looks_like_function(input: ParseStream) -> bool {
    input.peek(Token![fn])
        || (input.peek(Token![const]) && !input.peek3(Token![:]))
        || input.peek(Token![async])
        || input.peek(Token![unsafe])
        || input.peek(Token![extern])
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    #[test]
    fn names_in_nested_items_are_skipped() {
        let names_self = |tokens| {
            let mut names = Vec::new();
            names_outside_of_items(tokens, &mut names);
            names.iter().any(|name| name == "Self")
        };
        assert!(names_self(quote!(let a = Self::new(); a)));
        assert!(names_self(quote!(fn helper() {}, (1, [Self::LIMIT]))));
        assert!(!names_self(quote!(struct A; impl A { fn new() -> Self { Self } } A::new())));
        assert!(!names_self(quote!(
            fn helper(of: Option<u8>) -> u8 {
                1
            },
            helper()
        )));
    }
}
