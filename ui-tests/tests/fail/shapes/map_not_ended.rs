#![deny(unused_must_use)]

#[fanfold::parallel(kind = "cpu")]
fn double(n: u32) -> u32 {
    n * 2
}

fn main() {
    double::map(0..3);
}
