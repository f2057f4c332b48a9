const NONE: usize = 0;

#[fanfold::parallel(kind = "cpu", chunks = NONE)]
fn double(numbers: Vec<u32>) -> Vec<u32> {
    numbers
}

fn main() {}
