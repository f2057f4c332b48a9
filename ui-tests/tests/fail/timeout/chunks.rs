#[fanfold::parallel(kind = "io", timeout = "1s", chunks = 4)]
fn both(numbers: Vec<u32>) -> Result<Vec<u32>, fanfold::TaskError> {
    Ok(numbers)
}

fn main() {
    let _ = both(vec![]);
}
