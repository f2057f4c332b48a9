//! The block around the attribute, read from the source file.
//!
//! A macro sees its own item only, and what it emits for a function is wrong for a method of a trait, or for an
//! associated function that shows by nothing that it is one: rustc then reports up to seven errors about generated
//! names. So where these are possible, the file tells. Without a file the errors are rustc's.

use std::fs;
use std::ops::ControlFlow;

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use syn::Visibility;

use crate::function::Function;
use crate::options::Options;
use crate::receiver;

/// The kind of an `impl` block.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Block {
    Inherent,
    Trait,
}

/// The error of a function whose `impl` block has no room for its companions.
pub(crate) fn misplaced(function: &Function, options: &Options) -> Option<&'static str> {
    let has_method = receiver::is_inside_impl(function);
    // A function with `pub` cannot stand in the `impl` of a trait.
    let may_be_in_trait = has_method && matches!(function.vis, Visibility::Inherited);
    if options.companion.is_some() || has_method && !may_be_in_trait {
        return None;
    }
    match (block_around(Span::call_site())?, options.kind) {
        // The check of process functions refuses methods itself.
        (_, Some(kind)) if kind.is_process() && has_method => None,
        (_, Some(kind)) if kind.is_process() => Some(
            "a worker process finds functions by name, so they stand alone: move this one out of the \
             `impl` block, and call it from there",
        ),
        (Block::Trait, _) => Some(
            "the `impl` of a trait has no room for the other ways to call a function: say \
             `companion = none` for the direct call alone",
        ),
        (Block::Inherent, _) if !has_method => Some(
            "an associated function that names neither `self` nor `Self` looks like one that stands \
             alone: say `companion = Self`, and the other ways to call it stand beside it in its `impl` block",
        ),
        (Block::Inherent, _) => None,
    }
}

/// The `impl` block whose braces are the innermost around the start of the span.
fn block_around(span: Span) -> Option<Block> {
    if !proc_macro::is_available() {
        return None;
    }
    let span = span.unwrap();
    // At the start of a line nothing is around it, as everybody indents.
    let (file, line, column) = (span.local_file()?, span.line(), span.column());
    if column < 2 {
        return None;
    }
    let text = fs::read_to_string(file).ok()?;
    let start: usize = text.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum();
    let indent: usize = text.get(start..)?.chars().take(column - 1).map(char::len_utf8).sum();
    let (before, attribute) = text.split_at_checked(start + indent)?;
    if attribute.starts_with('#') { block_around_mark(&format!("{before}{MARK} {attribute}")) } else { None }
}

/// Marks the place of the attribute in the text of its file.
const MARK: &str = "__the_attribute_is_here";

/// The `impl` block whose braces are the innermost around the mark.
fn block_around_mark(code: &str) -> Option<Block> {
    find_mark(code.parse().ok()?, &[]).break_value()?
}

/// Finds the mark in the tokens of a group, and breaks with the block that `header` begins, which stands before the
/// group's braces.
fn find_mark(tokens: TokenStream, header: &[TokenTree]) -> ControlFlow<Option<Block>> {
    let mut item = Vec::new();
    for token in tokens {
        match &token {
            TokenTree::Ident(ident) if ident == MARK => return ControlFlow::Break(block_of(header)),
            TokenTree::Group(group) => {
                let has_braces = group.delimiter() == Delimiter::Brace;
                find_mark(group.stream(), if has_braces { &item } else { &[] })?;
                if has_braces {
                    item.clear();
                    continue;
                }
            }
            TokenTree::Punct(punct) if punct.as_char() == ';' => {
                item.clear();
                continue;
            }
            _ => {}
        }
        item.push(token);
    }
    ControlFlow::Continue(())
}

/// The kind of the `impl` block that this header begins.
fn block_of(header: &[TokenTree]) -> Option<Block> {
    let mut tokens = header.iter().peekable();
    let is_hash = |token: &&TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == '#');
    while tokens.next_if(is_hash).is_some() {
        tokens.next(); // the brackets of the attribute
    }
    let is = |token: &TokenTree, name: &str| matches!(token, TokenTree::Ident(ident) if ident == name);
    tokens.next_if(|token| is(token, "unsafe"));
    tokens.next_if(|token| is(token, "impl"))?;
    while let Some(token) = tokens.next() {
        let binds = matches!(tokens.peek(), Some(TokenTree::Punct(punct)) if punct.as_char() == '<');
        if is(token, "for") && !binds {
            return Some(Block::Trait);
        }
    }
    Some(Block::Inherent)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The block around the `@` of this code.
    fn around(code: &str) -> Option<Block> {
        block_around_mark(&code.replace('@', MARK))
    }

    #[test]
    fn the_innermost_block_counts() {
        assert_eq!(around("impl Circle {\n    @ fn a() {} }"), Some(Block::Inherent));
        let bound = "struct A;\n#[cfg(unix)]\nunsafe impl<T: for<'a> Fn(&'a u8)> B<T> { @ }";
        assert_eq!(around(bound), Some(Block::Inherent));
        let of_trait = "impl<'a, T> Shape<'a> for Square<T> where T: Copy { fn a() {} const B: u8 = 1; @ fn c() {} }";
        assert_eq!(around(of_trait), Some(Block::Trait));
        for other in ["@", "fn main() { @ }", "mod a { @ }", "impl A { fn b() { @ } }", "impl A { } @", "trait T { @ }"]
        {
            assert_eq!(around(other), None, "{other}");
        }
    }

    #[test]
    fn braces_in_texts_and_comments_do_not_count() {
        let code = r##"
            // impl A {
            /* impl A { /* { */ } " */
            const TEXTS: [&str; 3] = ["{ \" {", r#"{ " {"#, "}"];
            /// An `impl B {`.
            impl<'a> Circle<'a> { // }
                fn b(c: &'a str) -> char { '{' }
                @ fn d() {}
            }
        "##;
        assert_eq!(around(code), Some(Block::Inherent));
    }
}
