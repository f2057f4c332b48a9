fn add(a: u32, b: u32) -> u32 {
    a + b
}

#[fanfold::parallel(kind = "cpu", chunks = 4, reduce = add)]
fn sum(numbers: &[u64]) -> u64 {
    numbers.iter().sum()
}

fn main() {}
