//! A type of the function's name exists, so the companion needs another name: `companion = Other`.
enum parse {}

#[fanfold::parallel(kind = "cpu")]
fn parse(text: &str) -> usize {
    text.len()
}

fn main() {
    let _: Option<parse> = None;
}
