#[fanfold::parallel(kind = "cpu", chunks = -1)]
fn negative(numbers: Vec<u32>) -> Vec<u32> {
    numbers
}

#[fanfold::parallel(kind = "cpu", chunks = "many")]
fn text(numbers: Vec<u32>) -> Vec<u32> {
    numbers
}

#[fanfold::parallel(kind = "cpu", chunk_size = 1.5)]
fn float(numbers: Vec<u32>) -> Vec<u32> {
    numbers
}

fn main() {}
