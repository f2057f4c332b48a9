//! Word count: a text is cut between lines, each chunk is counted, and the maps of counts are added.
//!
//! `cargo run --release -p fanfold-examples --example word_count`

use std::collections::HashMap;

use fanfold::parallel;

type Counts = HashMap<String, u32>;

/// A string is cut between lines; `add` puts the results of two chunks together.
#[parallel(kind = "cpu", chunks = "auto", reduce = add)]
fn count(text: &str) -> Counts {
    let mut counts = Counts::new();
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        *counts.entry(word.to_lowercase()).or_default() += 1;
    }
    counts
}

fn add(mut all: Counts, more: Counts) -> Counts {
    for (word, count) in more {
        *all.entry(word).or_default() += count;
    }
    all
}

fn main() {
    let text = "The fox saw the hen.\nThe hen saw the fox first.\n".repeat(20_000);
    let mut counts: Vec<_> = count(&text).into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    for (word, count) in counts {
        println!("{count:>6} {word}");
    }
}
