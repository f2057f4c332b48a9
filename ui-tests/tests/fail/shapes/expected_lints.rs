//! `#[expect]` of lints that fire in a body is checked.
#![deny(unfulfilled_lint_expectations)]

#[fanfold::parallel(kind = "cpu")]
#[expect(unused_mut, clippy::too_many_lines, reason = "it changes nothing")]
fn double(n: u32) -> u32 {
    n * 2
}

fn main() {
    double(1);
}
