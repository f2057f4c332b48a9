//! Compiles every program of `fail/`.
//!
//! No program of another kind is among them: only so `trybuild` checks all of them at once, in a quarter of the time.

#[test]
fn ui() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/fail/*/*.rs");
}
