//! One `use` brings the function and what stands beside it.
mod numbers {
    #[fanfold::parallel(kind = "cpu")]
    pub fn double(n: u32) -> u32 {
        n * half::one() * 2
    }

    mod half {
        #[fanfold::parallel(kind = "cpu")]
        pub(super) fn one() -> u32 {
            1
        }
    }

    #[fanfold::parallel(kind = "cpu")]
    pub(crate) fn r#match(r#type: u32) -> u32 {
        r#type
    }
}

use numbers::double;

#[test]
fn runs() {
    assert_eq!(double(2), 4);
    assert_eq!(double::map(0..3).collect::<Vec<_>>(), [0, 2, 4]);
    assert_eq!(numbers::r#match::submit(4).join().unwrap(), 4);
}
