#[fanfold::parallel(kind = "cpu", reduce = add)]
fn total(numbers: Vec<u32>) -> u32 {
    numbers.into_iter().sum()
}

fn add(a: u32, b: u32) -> u32 {
    a + b
}

fn main() {
    total(vec![]);
}
