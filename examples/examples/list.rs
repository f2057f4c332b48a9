//! Lists the examples, each with its first line.
//!
//! `cargo run -p fanfold-examples --example list`

use std::error::Error;
use std::fs;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut examples = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path)?;
            let first = text.lines().next().and_then(|line| line.strip_prefix("//! ")).unwrap_or_default().to_owned();
            examples.push((path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), first));
        }
    }
    examples.sort_unstable();
    let width = examples.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    println!("cargo run --release -p fanfold-examples --example NAME, with one of\n");
    for (name, first) in examples {
        println!("{name:<width$}  {first}");
    }
    Ok(())
}
