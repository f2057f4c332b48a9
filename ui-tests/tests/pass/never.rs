//! Functions that never return.
#[fanfold::parallel(kind = "io")]
fn fail(with: u32) -> ! {
    std::panic::panic_any(with);
}

#[fanfold::parallel(kind = "io", companion = none)]
fn alone() -> ! {
    std::panic::panic_any(2_u32);
}

#[test]
fn runs() {
    let payload = std::panic::catch_unwind(|| fail(7)).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&7_u32));
    let task: fanfold::Task<std::convert::Infallible> = fail::submit(3);
    assert!(task.join().is_err());
    assert!(std::panic::catch_unwind(|| alone()).is_err());
}
