#[fanfold::parallel(kind = "cpu", chunks = 0)]
fn double(numbers: Vec<u32>) -> Vec<u32> {
    numbers
}

fn main() {
    double(vec![]);
}
