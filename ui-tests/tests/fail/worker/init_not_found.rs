#[fanfold::parallel(kind = "io", init = opne)]
fn next(#[worker] state: &mut u32) -> u32 {
    *state += 1;
    *state
}

fn open() -> u32 {
    1
}

fn main() {
    next();
    open();
}
