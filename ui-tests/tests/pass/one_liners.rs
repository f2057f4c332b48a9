//! Bodies on one line, conditional parameters, and functions that never return.
#![deny(warnings)]
#![allow(clippy::non_minimal_cfg, reason = "a condition that always holds is one, too")]
use fanfold::{TaskError, parallel};

#[parallel(kind = "cpu")] fn same(x: u32) -> u32 { x }

#[parallel(kind = "cpu")]
#[inline]
fn conditional(#[cfg(any())] missing: Missing, #[cfg(all())] here: u32, #[cfg(not(any()))] too: u32) -> u32 {
    here + too
}

#[parallel(kind = "io")]
fn never(message: String) -> ! {
    panic!("{message}")
}

#[test]
fn runs() {
    assert_eq!(same(1), 1);
    assert_eq!(conditional(1, 2), 3);
    assert_eq!(conditional::submit(1, 2).join().unwrap(), 3);
    let task: fanfold::Task<std::convert::Infallible> = never::submit("no".into());
    assert!(matches!(task.join(), Err(TaskError::Panicked { message, .. }) if message == "no"));
    let all = std::panic::catch_unwind(|| never::map([String::from("one")]).for_each(drop));
    assert!(all.is_err());
    let call = std::panic::catch_unwind(|| {
        if same(1) == 1 {
            never("direct".into());
        }
    });
    assert!(call.is_err());
}
