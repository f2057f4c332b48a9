//! A function that is never called is reported as without the attribute; one that is called in any way is not.
#![deny(dead_code)]

#[fanfold::parallel(kind = "cpu")]
fn never_called(n: u32) -> u32 {
    n
}

#[fanfold::parallel(kind = "cpu", chunks = 2)]
fn only_mapped(numbers: Vec<u32>) -> Vec<u32> {
    numbers
}

#[fanfold::parallel(kind = "io")]
fn only_serial() {}

fn main() {
    only_mapped::map([vec![1]]).for_each(drop);
    only_serial::serial();
}
