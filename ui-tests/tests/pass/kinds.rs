//! The two kinds of threads, and what stands beside each function.
use fanfold::parallel;

#[parallel(kind = "cpu")]
fn add(a: u32, b: u32) -> u32 {
    a + b
}

#[parallel(kind = "io")]
fn nothing() {}

#[test]
fn runs() {
    assert_eq!(add(1, 2), 3);
    assert_eq!(add::serial(1, 2), 3);
    assert_eq!(add::submit(1, 2).join().unwrap(), 3);
    assert_eq!(add::map(vec![(1, 2), (3, 4)]).collect::<Vec<_>>(), [3, 7]);
    nothing();
    nothing::submit().join().unwrap();
}
