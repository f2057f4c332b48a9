struct Once;

#[fanfold::parallel(kind = "cpu", chunks = 4)]
fn with(numbers: Vec<u32>, once: Once) -> Vec<u32> {
    let Once = once;
    numbers
}

fn main() {}
