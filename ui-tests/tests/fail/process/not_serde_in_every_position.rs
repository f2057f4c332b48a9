use std::rc::Rc;

use fanfold::parallel;

struct Plain(u32);

struct Failure;

#[parallel(kind = "process")]
fn alone(plain: Plain, count: u32) -> u32 {
    plain.0 + count
}

#[parallel(kind = "process")]
fn result(count: u32) -> Result<Plain, String> {
    Ok(Plain(count))
}

#[parallel(kind = "process")]
fn error(count: u32) -> Result<u32, Failure> {
    Ok(count)
}

#[parallel(kind = "process")]
fn shared(count: Rc<u32>) -> u32 {
    *count
}

fn main() {
    alone(Plain(1), 2);
}
