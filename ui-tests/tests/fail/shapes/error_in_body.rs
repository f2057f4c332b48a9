//! An error in the body points at the body, and is reported once.
#[fanfold::parallel(kind = "cpu", chunks = 2)]
fn wrong(numbers: Vec<u32>, by: &str) -> Vec<String> {
    numbers.iter().map(|n| n + by.missing()).collect()
}

fn main() {
    wrong(vec![1], "");
}
