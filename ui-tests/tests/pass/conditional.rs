//! `#[cfg]` on functions, on arguments and in the attribute.
#![deny(unused)]

#[fanfold::parallel(kind = "cpu")]
#[cfg(not(any()))]
fn there() -> u32 {
    1
}

#[fanfold::parallel(kind = "cpu")]
#[cfg(any())]
fn there() -> u32 {
    2
}

#[fanfold::parallel(kind = "cpu")]
fn argument(a: u32, #[cfg(any())] _missing: u32, #[cfg(not(any()))] b: u32) -> u32 {
    a + b
}

#[cfg_attr(not(any()), fanfold::parallel(kind = "cpu"))]
fn attributed(n: u32) -> u32 {
    n
}

struct Grid;

impl Grid {
    #[fanfold::parallel(kind = "cpu")]
    #[cfg(not(any()))]
    fn one(&self, #[cfg(any())] _missing: u32) -> u32 {
        1
    }

    #[fanfold::parallel(kind = "cpu")]
    #[cfg(any())]
    fn one(&self) -> u32 {
        missing
    }
}

#[test]
fn runs() {
    assert_eq!(there(), 1);
    assert_eq!(argument(1, 2), 3);
    assert_eq!(attributed::submit(1).join().unwrap(), 1);
    assert_eq!(Grid.one(), Grid.one_serial());
}
