use std::collections::HashMap;

#[fanfold::parallel(kind = "cpu", chunks = 4)]
fn squares(numbers: &[u32]) -> HashMap<u32, u32> {
    numbers.iter().map(|n| (*n, n * n)).collect()
}

#[fanfold::parallel(kind = "cpu", chunks = 4)]
fn roots(numbers: &[u32]) -> HashMap<u32, Vec<u32>> {
    numbers.iter().map(|n| (n * n, vec![*n])).collect()
}

fn main() {
    squares(&[1]);
    roots(&[1]);
}
