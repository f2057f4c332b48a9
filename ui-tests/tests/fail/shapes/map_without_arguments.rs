//! A function without arguments takes `()` for each item.
#[fanfold::parallel(kind = "io")]
fn now() -> u64 {
    7
}

fn main() {
    let _ = now::map(0..3).collect::<Vec<_>>();
}
