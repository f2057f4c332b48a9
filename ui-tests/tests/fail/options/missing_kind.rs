#[fanfold::parallel]
fn bare() {}

#[fanfold::parallel(chunks = 2)]
fn chunked(numbers: Vec<u32>) -> Vec<u32> {
    numbers
}

fn main() {
    bare();
    chunked(vec![]);
}
