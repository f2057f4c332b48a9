//! The attribute inside `macro_rules!`, under `cfg_attr`, and inside a function.
macro_rules! constants {
    ($($name:ident = $value:expr;)*) => {$(
        #[fanfold::parallel(kind = "cpu")]
        fn $name(by: u32) -> u32 {
            $value * by
        }
    )*};
}
constants! { one = 1; two = 2; }

#[cfg_attr(all(), fanfold::parallel(kind = "io"))]
fn three() -> u32 {
    3
}

#[cfg(any())]
#[fanfold::parallel(kind = "io")]
fn left_out(missing: Missing) {}

#[test]
fn runs() {
    #[fanfold::parallel(kind = "cpu")]
    fn inner(n: u32) -> u32 {
        if n == 0 {
            return 0;
        }
        n + inner(n - 1)
    }
    assert_eq!(one(5) + two(5), 15);
    assert_eq!(two::map(0..3).collect::<Vec<_>>(), [0, 2, 4]);
    assert_eq!(three::submit().join().unwrap(), 3);
    assert_eq!(inner(3), 6);
}
