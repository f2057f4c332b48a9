#![deny(unused_must_use, deprecated)]

#[fanfold::parallel(kind = "cpu")]
#[must_use = "it only computes"]
fn double(n: u32) -> u32 {
    n * 2
}

#[fanfold::parallel(kind = "cpu")]
#[deprecated = "use `double`"]
fn twice(n: u32) -> u32 {
    n * 2
}

fn main() {
    double(1);
    let _ = twice(2);
}
