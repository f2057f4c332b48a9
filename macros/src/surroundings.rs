//! The block around the attribute, read from the source file.
//!
//! A macro sees its own item only, and what it emits for a function is wrong for a method of a trait, or for an
//! associated function that shows by nothing that it is one: rustc then reports up to seven errors about generated
//! names. So where these are possible, the file tells. Without a file the errors are rustc's.

use std::fs;

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use syn::Visibility;

use crate::function::Function;
use crate::options::{Kind, Options};
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
        (_, Some(Kind::Process)) if has_method => None,
        (_, Some(Kind::Process)) => Some(
            "a worker process finds functions by name, so they stand alone: move this one out of the `impl` block, and call it from there",
        ),
        (Block::Trait, _) => Some(
            "the `impl` of a trait has no room for the other ways to call a function: say `companion = none` for the direct call alone",
        ),
        (Block::Inherent, _) if !has_method => Some(
            "an associated function that names neither `self` nor `Self` looks like one that stands alone: say `companion = Self`, and the other ways to call it stand beside it in its `impl` block",
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
    if attribute.starts_with('#') { block_of(&innermost_header(before)?) } else { None }
}

/// The code before the last brace that is still open: from the item before it on, without comments and texts.
fn innermost_header(code: &str) -> Option<String> {
    let (mut open, mut header) = (Vec::new(), String::new());
    let mut rest = code;
    while let Some(next) = rest.chars().next() {
        let is_word = header.ends_with(|last: char| last.is_alphanumeric() || last == '_');
        let skipped = match next {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => comment_len(rest),
            '"' => text_len(rest),
            'r' if !is_word || header.ends_with(['b', 'c']) => raw_text_len(rest).unwrap_or(0),
            '\'' => character_len(rest),
            _ => 0,
        };
        if skipped > 0 {
            header.push(' ');
            rest = rest.get(skipped..)?;
            continue;
        }
        match next {
            '{' => open.push(std::mem::take(&mut header)),
            '}' => {
                open.pop()?;
                header.clear();
            }
            ';' => header.clear(),
            other => header.push(other),
        }
        rest = &rest[next.len_utf8()..];
    }
    open.pop()
}

/// The length of the `/* comment */` at the start, which may contain others.
fn comment_len(code: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(rest) = code.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with("*/") {
            (depth, at) = (depth.saturating_sub(1), at + 2);
            if depth == 0 {
                break;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// The length of the `"text"` at the start.
fn text_len(code: &str) -> usize {
    let mut is_escaped = false;
    let end = code.char_indices().skip(1).find(|(_, next)| {
        let ends = *next == '"' && !is_escaped;
        is_escaped = *next == '\\' && !is_escaped;
        ends
    });
    end.map_or(code.len(), |(at, _)| at + 1)
}

/// The length of the `r#"text"#` at the start, if there is one.
fn raw_text_len(code: &str) -> Option<usize> {
    let hashes = code[1..].bytes().take_while(|byte| *byte == b'#').count();
    let text = code[1 + hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(text.find(&end).map_or(code.len(), |at| 2 + hashes + at + end.len()))
}

/// The length of the `'c'` at the start; 1 for the quote of a lifetime.
fn character_len(code: &str) -> usize {
    let mut characters = code.char_indices().skip(1);
    match (characters.next(), characters.next()) {
        // The character behind the backslash may be a quote itself.
        (Some((_, '\\')), Some((at, escaped))) => {
            let behind = at + escaped.len_utf8();
            code[behind..].find('\'').map_or(code.len(), |end| behind + end + 1)
        }
        (_, Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

/// The kind of the `impl` block that this header begins.
fn block_of(header: &str) -> Option<Block> {
    let mut tokens = header.parse::<TokenStream>().ok()?.into_iter().peekable();
    let is_hash = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == '#');
    while tokens.next_if(is_hash).is_some() {
        tokens.next_if(|token| matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket))?;
    }
    let is = |token: &TokenTree, name: &str| matches!(token, TokenTree::Ident(ident) if ident == name);
    tokens.next_if(|token| is(token, "unsafe"));
    tokens.next_if(|token| is(token, "impl"))?;
    while let Some(token) = tokens.next() {
        let binds = matches!(tokens.peek(), Some(TokenTree::Punct(punct)) if punct.as_char() == '<');
        if is(&token, "for") && !binds {
            return Some(Block::Trait);
        }
    }
    Some(Block::Inherent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(before: &str) -> Option<Block> {
        block_of(&innermost_header(before)?)
    }

    #[test]
    fn the_innermost_block_counts() {
        assert_eq!(around("impl Circle {\n    "), Some(Block::Inherent));
        assert_eq!(around("struct A;\n#[cfg(unix)]\nunsafe impl<T: for<'a> Fn(&'a u8)> B<T> {"), Some(Block::Inherent));
        assert_eq!(
            around("impl<'a, T> Shape<'a> for Square<T> where T: Copy { fn a() {} const B: u8 = 1;"),
            Some(Block::Trait)
        );
        for other in ["", "fn main() { ", "mod shapes {", "impl A { fn b() {", "impl A { } ", "}", "trait T {"] {
            assert_eq!(around(other), None, "{other}");
        }
    }

    #[test]
    fn braces_in_texts_and_comments_do_not_count() {
        let code = r####"
            // impl A {
            /* impl A { /* { */ } " */
            const TEXTS: [&str; 3] = ["{ \" {", r#"{ " {"#, br"{"];
            const CHARACTERS: [char; 4] = ['{', '\'', '\u{7b}', '"'];
            impl<'a> Circle<'a> { // }
                fn b(c: &'a str) -> char { 'ü' }
        "####;
        assert_eq!(around(code), Some(Block::Inherent));
        assert_eq!(around(&format!("{code} }} ")), None);
    }
}
