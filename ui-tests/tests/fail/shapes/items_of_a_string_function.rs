//! One error for each map, whatever its options, and whatever follows.
use fanfold::{Pool, TaskError, parallel};

#[parallel(kind = "io")]
fn load(name: String) -> usize {
    name.len()
}

#[parallel(kind = "process")]
fn crunch(name: String) -> usize {
    name.len()
}

#[parallel(kind = "cpu", timeout = "1s")]
fn timed(name: String) -> Result<usize, TaskError> {
    Ok(name.len())
}

#[parallel(kind = "cpu")]
fn repeat(name: String, times: usize) -> String {
    name.repeat(times)
}

fn main() {
    let _: Vec<usize> = load::map(vec![1]).filter(|length| *length > 2).collect();
    let _: Vec<usize> = crunch::map(["a", "b"]).collect();
    let _ = timed::map(0..9).collect::<Result<Vec<_>, _>>();
    let _ = repeat::map(vec!["a"]).collect::<Vec<_>>();
    let _ = load::on(Pool::io_default()).map(["a"]).collect::<Vec<_>>();
}
