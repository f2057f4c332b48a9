fn open() -> u32 {
    1
}

#[fanfold::parallel(kind = "io", init = open)]
async fn next(#[worker] state: &mut u32) -> u32 {
    *state
}

fn main() {
    drop(next());
}
