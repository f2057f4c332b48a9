//! An `impl Fn` without `Send`.
#[fanfold::parallel(kind = "cpu")]
fn apply(f: impl Fn(u32) -> u32, n: u32) -> u32 {
    f(n)
}

fn main() {
    apply(|n| n, 1);
}
