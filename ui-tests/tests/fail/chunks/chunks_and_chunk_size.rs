#[fanfold::parallel(kind = "cpu", chunks = 4, chunk_size = 100)]
fn both(numbers: Vec<u32>) -> Vec<u32> {
    numbers
}

fn main() {
    both(vec![]);
}
