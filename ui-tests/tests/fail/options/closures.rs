//! Options take paths: a closure is one error, and so is each other value of a wrong form.
use fanfold::parallel;

#[parallel(kind = "cpu", chunks = 2, reduce = |a, b| a + b)]
fn sum(numbers: Vec<u32>) -> u32 {
    numbers.iter().sum()
}

#[parallel(kind = "io", init = || 3)]
fn state(#[worker] state: &mut u32) -> u32 {
    *state
}

#[parallel(kind = "io", retries = "3", backoff = "1s")]
fn again(n: u32) -> Result<u32, String> {
    Ok(n)
}

#[parallel(cpu)]
fn word(n: u32) -> u32 {
    n
}

fn main() {
    sum(vec![]);
    state();
    let _ = again(1);
    word(1);
}
