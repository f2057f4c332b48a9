//! Another name for the companion, and another path for the library.
mod reexported {
    pub use fanfold as parallelism;
}

mod parse {}

#[fanfold::parallel(kind = "cpu", companion = Parse, crate = "crate::companion_and_crate::reexported::parallelism")]
fn parse(text: &str) -> Option<u32> {
    text.parse().ok()
}

#[test]
fn runs() {
    assert_eq!(parse("7"), Some(7));
    assert_eq!(Parse::submit("8").join().unwrap(), Some(8));
}
