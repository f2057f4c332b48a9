fn open() -> Vec<u32> {
    vec![]
}

#[fanfold::parallel(kind = "io", init = open)]
fn shared(#[worker] state: &Vec<u32>) -> usize {
    state.len()
}

#[fanfold::parallel(kind = "io", init = open, chunks = 2)]
fn chunked(numbers: Vec<u32>, #[worker] #[chunk] state: &mut Vec<u32>) -> Vec<u32> {
    state.extend(numbers);
    state.clone()
}

fn main() {
    shared();
    chunked(vec![]);
}
