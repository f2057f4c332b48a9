use fanfold::Priority;

#[fanfold::parallel(kind = "io", deadline = "0s")]
fn zero() -> Result<(), fanfold::TaskError> {
    Ok(())
}

#[fanfold::parallel(kind = "io", deadline = "1s")]
fn borrows(path: &str) -> Result<usize, fanfold::TaskError> {
    Ok(path.len())
}

#[fanfold::parallel(kind = "io", deadline = "1s", chunks = 4)]
fn both(numbers: &[u32]) -> Result<Vec<u32>, fanfold::TaskError> {
    Ok(numbers.to_vec())
}

#[fanfold::parallel(kind = "process", deadline = "1s")]
fn process() {}

#[fanfold::parallel(kind = "io", deadline = "1s")]
fn no_place(n: u32) -> u32 {
    n
}

#[fanfold::parallel(kind = "io")]
fn plain(n: u32) -> u32 {
    n
}

fn main() {
    let _ = plain::on(fanfold::Pool::io_default()).priority(Priority::High).call(1);
}
