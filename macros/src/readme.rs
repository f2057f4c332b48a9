//! A test that the README's examples show what the attribute emits.
//!
//! `FANFOLD_README=overwrite cargo test -p fanfold-macros` writes what the attribute emits now.

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens, quote};
use std::fmt::Write as _;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
/// The example is between these two, and the emitted code between the second and the third.
const INPUT: &str = "```rust\n";
const OUTPUT: &str = "```\n\nbecomes\n\n```rust\n";
const END: &str = "```\n";
/// The table of all examples.
const TABLE: (&str, &str) = ("<!-- table -->\n", "<!-- end of table -->\n");

/// The most lines that a plain function of two arguments may become.
const MOST_LINES: usize = 58;

/// The item as the compiler gets it, as `cargo expand` would print it.
fn expanded(input: &str) -> String {
    let expanded = match syn::parse_str(input).expect("an item") {
        syn::Item::Fn(mut function) => {
            let options = take(&mut function.attrs);
            crate::expand(options, &function.to_token_stream())
        }
        syn::Item::Impl(mut block) => {
            let items: TokenStream = std::mem::take(&mut block.items)
                .into_iter()
                .map(|item| match item {
                    syn::ImplItem::Fn(mut function) => {
                        let options = take(&mut function.attrs);
                        crate::expand(options, &function.to_token_stream())
                    }
                    other => other.to_token_stream(),
                })
                .collect();
            let mut head: Vec<TokenTree> = block.to_token_stream().into_iter().collect();
            head.pop();
            let head: TokenStream = head.into_iter().collect();
            quote!(#head { #items })
        }
        _ => panic!("a function, or an `impl` block"),
    };
    assert!(!expanded.to_string().contains("compile_error"), "a mistake in the example: {expanded}");
    let printed = prettyplease::unparse(&syn::parse2(expanded).expect("what is emitted can be parsed"));
    printed.replace("///", "/// ")
}

/// The options of the attribute, which is removed.
fn take(attrs: &mut Vec<syn::Attribute>) -> TokenStream {
    let place = attrs.iter().position(|attr| attr.path().is_ident("parallel")).expect("the attribute");
    attrs.remove(place).meta.require_list().expect("options").tokens.clone()
}

/// The text before `end`, and the text after it.
fn until<'a>(text: &'a str, end: &str) -> Option<(&'a str, &'a str)> {
    let place = text.find(end)?;
    Some((&text[..place], &text[place + end.len()..]))
}

/// The README with the current output of each example, and each example's title and number of lines.
fn written(readme: &str) -> (String, Vec<(String, usize)>) {
    let (mut text, mut rest, mut examples) = (String::new(), readme, Vec::new());
    while let Some((before, example)) = until(rest, INPUT) {
        let (input, output) = until(example, OUTPUT).expect("each example says what it becomes");
        let (_, behind) = until(output, END).expect("the output's end");
        let title = before.lines().rev().find_map(|line| line.strip_prefix("### ")).expect("each example has a title");
        let output = expanded(input);
        examples.push((title.to_owned(), output.lines().count()));
        text.extend([before, INPUT, input, OUTPUT, &output, END]);
        rest = behind;
    }
    text.push_str(rest);
    let (head, behind) = until(&text, TABLE.0).expect("the table's start");
    let (_, tail) = until(behind, TABLE.1).expect("the table's end");
    let mut table = String::from("| shape | lines |\n|---|---:|\n");
    for (title, lines) in &examples {
        let anchor =
            title.to_lowercase().replace(' ', "-").replace(['`', ',', '=', '"', '&', '(', ')', ':', '<', '>'], "");
        let _ = writeln!(table, "| [{title}](#{anchor}) | {lines} |");
    }
    (format!("{head}{}{table}{}{tail}", TABLE.0, TABLE.1), examples)
}

#[test]
fn the_readme_shows_what_is_emitted() {
    let readme = std::fs::read_to_string(PATH).expect("the README can be read");
    let (written, examples) = written(&readme);
    if std::env::var("FANFOLD_README").is_ok_and(|value| value == "overwrite") {
        std::fs::write(PATH, written).expect("the README can be written");
    } else {
        let differs = readme.lines().zip(written.lines()).find(|(is, should)| is != should);
        assert!(
            readme == written,
            "README.md does not show what is emitted, from {differs:?} on: run with FANFOLD_README=overwrite"
        );
    }
    let (title, lines) = &examples[0];
    assert!(*lines <= MOST_LINES, "{title} becomes {lines} lines, and may become {MOST_LINES}");
}
