#[fanfold::parallel(kind = "io", init = open)]
fn next(#[worker] state: &mut u32) -> u32 {
    *state += 1;
    *state
}

fn open(first: u32) -> u32 {
    first
}

fn main() {
    next();
}
