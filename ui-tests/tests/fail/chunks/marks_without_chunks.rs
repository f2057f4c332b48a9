#[fanfold::parallel(kind = "cpu")]
fn marked(#[chunk] numbers: Vec<u32>) -> Vec<u32> {
    numbers
}

#[fanfold::parallel(kind = "cpu", reduce = add)]
fn reduced(numbers: Vec<u32>) -> u32 {
    numbers.len() as u32
}

fn add(a: u32, b: u32) -> u32 {
    a + b
}

fn main() {
    marked(vec![]);
    reduced(vec![]);
}
