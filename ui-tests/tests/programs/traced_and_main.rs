//! Together with other attributes, before it and behind it.
#[fanfold::parallel(kind = "cpu")]
#[inline(never)]
#[doc(alias = "double")]
#[cold]
fn twice(n: u32) -> u32 {
    n * 2
}

#[inline]
#[fanfold::parallel(kind = "cpu")]
fn thrice(n: u32) -> u32 {
    n * 3
}

#[fanfold::main]
fn main() {
    assert_eq!(twice(2), 4);
    assert_eq!(thrice(2), 6);
}
