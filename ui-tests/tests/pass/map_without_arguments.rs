//! A function without arguments is mapped over `()`.
use std::iter::repeat_n;

#[fanfold::parallel(kind = "io")]
fn seven() -> u64 {
    7
}

#[test]
fn runs() {
    assert_eq!(seven::map(repeat_n((), 3)).collect::<Vec<_>>(), [7; 3]);
    assert_eq!(seven::map([(); 4]).sum::<u64>(), 28);
}
