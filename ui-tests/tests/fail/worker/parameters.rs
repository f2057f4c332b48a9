fn open() -> u32 {
    1
}

#[fanfold::parallel(kind = "io", init = open)]
fn by_value(n: u32, #[worker] state: u32) -> u32 {
    n + state
}

#[fanfold::parallel(kind = "io", init = open)]
fn two(#[worker] one: &mut u32, #[worker] other: &mut u32) -> u32 {
    *one + *other
}

fn main() {
    by_value(1);
}
