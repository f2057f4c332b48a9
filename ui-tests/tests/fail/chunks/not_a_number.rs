const PIECES: &str = "four";

#[fanfold::parallel(kind = "cpu", chunks = PIECES)]
fn same(numbers: Vec<u32>) -> Vec<u32> {
    numbers
}

fn main() {
    same(vec![]);
}
