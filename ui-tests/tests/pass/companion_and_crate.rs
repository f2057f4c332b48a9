//! Another name for the companion, and another path for the library.
mod reexported {
    pub use fanfold as parallelism;
}

mod parse {}

#[fanfold::parallel(kind = "cpu", companion = Parse, crate = "crate::reexported::parallelism")]
fn parse(text: &str) -> Option<u32> {
    text.parse().ok()
}

fn main() {
    assert_eq!(parse("7"), Some(7));
    assert_eq!(Parse::submit("8").join().unwrap(), Some(8));
}
