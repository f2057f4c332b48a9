//! The generated code causes no warning under the strictest lints.
#![deny(missing_docs, unused, clippy::all, clippy::pedantic, unreachable_pub, non_camel_case_types)]
#![forbid(unsafe_code)]

use fanfold::parallel;

/// Documented.
#[parallel(kind = "cpu")]
#[must_use]
pub fn documented(n: u32) -> u32 {
    n
}

/// Only its map is used.
#[parallel(kind = "cpu", chunks = 2)]
fn only_mapped(numbers: &[u32]) -> Vec<u32> {
    numbers.to_vec()
}

#[test]
fn runs() {
    assert_eq!(documented(1), 1);
    assert_eq!(only_mapped::map([&[1_u32, 2][..]]).collect::<Vec<_>>(), [[1, 2]]);
}
