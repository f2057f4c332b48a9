//! Expensive state is created once in each process: `init`, and the parameter marked `#[worker]`.
//!
//! `cargo run --release -p fanfold-examples --example process_state`

use std::collections::{BTreeSet, HashMap};
use std::process;

use fanfold::{Pool, parallel};

static DICTIONARIES: Pool = Pool::process("dictionaries").threads(2);

/// Stands for a model or an index that takes a long time to load.
fn dictionary() -> HashMap<&'static str, &'static str> {
    HashMap::from([("eins", "one"), ("zwei", "two"), ("drei", "three")])
}

/// The translation, the process id of the worker, and the number of words in its dictionary.
#[parallel(kind = "process", pool = DICTIONARIES, init = dictionary)]
fn translate(#[worker] words: &mut HashMap<&'static str, &'static str>, word: String) -> (String, u32, usize) {
    let found = words.get(word.as_str()).copied().unwrap_or("?");
    (found.to_owned(), process::id(), words.len())
}

#[fanfold::main]
fn main() {
    let text = ["eins", "zwei", "drei", "vier"].map(String::from);
    let answers: Vec<(String, u32, usize)> = translate::map(text.iter().cycle().take(1_000).cloned()).collect();
    for (word, (translation, ..)) in text.iter().zip(&answers) {
        println!("{word}: {translation}");
    }
    let processes: BTreeSet<u32> = answers.iter().map(|(_, worker, _)| *worker).collect();
    println!("processes with a dictionary: {}", processes.len());
    println!("dictionaries with three words: {}", answers.iter().all(|(.., words)| *words == 3));
}
