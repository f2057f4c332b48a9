//! Items, closures and early returns in a body, and the `Self` of a nested `impl` block.
use std::collections::HashMap;

#[fanfold::parallel(kind = "cpu")]
fn count(text: &str) -> Result<usize, std::num::ParseIntError> {
    struct Counter {
        words: HashMap<usize, usize>,
    }
    impl Counter {
        fn new() -> Self {
            Self { words: HashMap::new() }
        }
    }
    if text.is_empty() {
        return Ok(0);
    }
    let mut counter = Counter::new();
    for word in text.split(' ') {
        let number: usize = word.parse()?;
        *counter.words.entry(number).or_default() += 1;
    }
    Ok(counter.words.len())
}

#[test]
fn runs() {
    assert_eq!(count("1 2 1"), Ok(2));
    assert_eq!(count(""), Ok(0));
    assert!(count::submit("x").join().unwrap().is_err());
}
