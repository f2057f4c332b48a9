//! Lint attributes hold for the function, and do not fire on what stands beside it.
#![deny(unused, deprecated, unfulfilled_lint_expectations, clippy::pedantic)]

#[fanfold::parallel(kind = "cpu")]
#[expect(unused_variables)]
fn expects(n: u32) -> u32 {
    let unused = 1;
    n
}

#[fanfold::parallel(kind = "cpu")]
#[allow(dead_code)]
fn allowed() {}

#[fanfold::parallel(kind = "cpu")]
#[must_use]
fn kept(n: u32) -> u32 {
    n
}

#[test]
fn runs() {
    let _ = expects(1);
    let _ = kept(1);
}
