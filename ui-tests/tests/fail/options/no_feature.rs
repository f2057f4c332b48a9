#[fanfold::parallel(kind = "cpu", progress = "working")]
fn slow(n: u32) -> u32 {
    n
}

fn main() {}
