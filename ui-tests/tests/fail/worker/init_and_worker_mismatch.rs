fn open() -> u32 {
    1
}

#[fanfold::parallel(kind = "io")]
fn no_init(n: u32, #[worker] state: &mut u32) -> u32 {
    n + *state
}

#[fanfold::parallel(kind = "io", init = open)]
fn no_parameter(n: u32) -> u32 {
    n
}

fn main() {
    no_init(1);
    no_parameter(1);
}
