//! Lints report the function as they would without the attribute.
#![deny(warnings)]

#[fanfold::parallel(kind = "cpu")]
fn never_called(n: u32) -> u32 {
    n
}

#[fanfold::parallel(kind = "cpu")]
#[must_use]
fn needed(unused_argument: u32) -> u32 {
    1
}

#[fanfold::parallel(kind = "cpu")]
fn only_submitted() {}

fn main() {
    needed(1);
    only_submitted::submit();
}
