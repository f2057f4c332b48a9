//! A program without `fanfold::init()`: this test binary has no `process_tests!`.

use fanfold::{Pool, parallel};

#[parallel(kind = "process")]
fn square(n: u64) -> u64 {
    n * n
}

#[test]
fn the_first_use_without_init_is_an_error_that_names_the_macro() {
    let error = Pool::process("workers").build().expect_err("it cannot start workers");
    assert!(error.to_string().contains("put `#[fanfold::main]` on `main`"), "{error}");
    let panic = std::panic::catch_unwind(|| square(3)).expect_err("it cannot start workers");
    let message = panic.downcast_ref::<String>().expect("a message");
    assert!(message.contains("fanfold::process_tests!();"), "{message}");
    assert_eq!(square::serial(3), 9);
}
