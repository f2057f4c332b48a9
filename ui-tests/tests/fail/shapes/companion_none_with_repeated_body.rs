//! Options that run the body more than once, with `companion = none`.
#[fanfold::parallel(kind = "cpu", chunks = 2, companion = none)]
fn cut(numbers: Vec<u32>) -> Vec<u32> {
    numbers
}

#[fanfold::parallel(kind = "io", retries = 2, companion = none)]
fn again() -> Result<(), String> {
    Ok(())
}

#[fanfold::parallel(kind = "io", companion = none)]
async fn later() {}

fn main() {
    cut(vec![]);
    let _ = again();
    let _ = later();
}
