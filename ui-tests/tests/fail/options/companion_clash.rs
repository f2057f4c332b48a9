//! A type of the function's name exists: `companion = Other` would help.
enum parse {}

#[fanfold::parallel(kind = "cpu")]
fn parse(text: &str) -> usize {
    text.len()
}

fn main() {
    let _: Option<parse> = None;
}
