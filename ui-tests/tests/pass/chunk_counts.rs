//! `chunks` takes any `usize` constant, and `"auto"`.
use fanfold::parallel;

const FOUR: usize = 4;

#[parallel(kind = "cpu", chunks = FOUR * 2 - 1)]
fn by_const(numbers: Vec<u32>) -> Vec<u32> {
    numbers
}

#[parallel(kind = "cpu", chunks = N)]
fn by_generic<const N: usize>(numbers: Vec<u32>) -> Vec<usize> {
    vec![numbers.len()]
}

#[parallel(kind = "cpu", chunks = "auto")]
fn auto(text: String) -> String {
    text.to_uppercase()
}

#[parallel(kind = "cpu", chunk_size = 3)]
fn lengths(range: std::ops::RangeInclusive<u8>) -> Vec<usize> {
    vec![range.count()]
}

#[test]
fn runs() {
    assert_eq!(by_const(vec![1, 2, 3]), [1, 2, 3]);
    assert_eq!(by_generic::<2>(vec![1, 2, 3]), [2, 1]);
    assert_eq!(auto("a\nb".into()), "A\nB");
    assert_eq!(lengths(1..=7), [3, 3, 1]);
}
