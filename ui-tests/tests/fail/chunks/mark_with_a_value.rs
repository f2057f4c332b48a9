#[fanfold::parallel(kind = "cpu", chunks = 2)]
fn same(#[chunk(3)] numbers: Vec<u32>) -> Vec<u32> {
    numbers
}

fn main() {
    same(vec![]);
}
