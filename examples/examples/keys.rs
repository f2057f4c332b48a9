//! Tasks by key: finding the file that a result belongs to.
//!
//! `cargo run -p fanfold-examples --example keys`

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::io;
use std::path::PathBuf;

use fanfold::{Task, as_completed, parallel};
use fanfold_examples::data;

#[parallel(kind = "io")]
fn count_lines(path: PathBuf) -> io::Result<usize> {
    Ok(fs::read_to_string(path)?.lines().count())
}

fn main() -> Result<(), Box<dyn Error>> {
    let names = ["README.md", "airports.csv", "no-such-file.csv"];

    // A task is a value: it can be stored under a key, and joined when its result is needed.
    let mut by_name: HashMap<&str, Task<_>> =
        names.into_iter().map(|name| (name, count_lines::submit(data::bundled(name)))).collect();
    let airports = by_name.remove("airports.csv").ok_or("it was submitted")?;
    println!("airports.csv has {} lines", airports.join()??);

    // `as_completed` gives the index of each task, so the keys are in a list of the same order.
    let (keys, tasks): (Vec<_>, Vec<_>) = by_name.into_iter().unzip();
    let mut lines = HashMap::new();
    for (index, result) in as_completed(tasks) {
        lines.insert(keys[index], result?);
    }
    for name in ["README.md", "no-such-file.csv"] {
        match &lines[name] {
            Ok(count) => println!("{name} has {count} lines"),
            Err(error) => println!("{name} cannot be read: {}", error.kind()),
        }
    }
    Ok(())
}
