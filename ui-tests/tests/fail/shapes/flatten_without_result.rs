//! `flatten` of a task whose function returns no `Result`, or one whose error is not made of a `TaskError`.
use fanfold::parallel;

#[parallel(kind = "cpu")]
fn number(n: u64) -> u64 {
    n
}

#[parallel(kind = "cpu")]
fn checked(n: u64) -> Result<u64, String> {
    Ok(n)
}

fn main() {
    let _ = number::submit(1).flatten().join();
    let _ = checked::submit(1).flatten().join();
}
