//! Arguments and results larger than a worker's memory limit: the error names the limit and what to do.
#![cfg(target_os = "linux")]

use fanfold::{Bytes, Pool, TaskError, parallel};

fanfold::process_tests!();

const LIMIT: u64 = 100 << 20;
const LARGE: usize = 120 << 20;

static LIMITED: Pool = Pool::process("limited").threads(1).memory_limit(LIMIT);

#[parallel(kind = "process", pool = LIMITED)]
fn bytes(bytes: Vec<u8>) -> Result<usize, TaskError> {
    Ok(bytes.len())
}

#[parallel(kind = "process", pool = LIMITED)]
fn text(text: String) -> Result<usize, TaskError> {
    Ok(text.len())
}

#[parallel(kind = "process", pool = LIMITED)]
fn numbers(numbers: Vec<u64>) -> Result<usize, TaskError> {
    Ok(numbers.len())
}

#[parallel(kind = "process", pool = LIMITED)]
fn shared(bytes: Bytes) -> Result<usize, TaskError> {
    Ok(bytes.len())
}

#[parallel(kind = "process", pool = LIMITED)]
fn result(len: usize) -> Result<Vec<u8>, TaskError> {
    Ok(vec![1; len])
}

/// Checks that the error names the limit, its option and a remedy.
#[track_caller]
fn assert_names_limit(error: &TaskError) {
    let text = error.to_string();
    assert!(text.contains("`memory_limit`") && text.contains("104857600 bytes"), "{text}");
    assert!(text.contains("raise it") && text.contains("send less at once"), "{text}");
}

#[test]
fn a_copied_argument_beyond_the_limit_is_an_error_that_names_it() {
    for outcome in [bytes(vec![1; LARGE]), text("a".repeat(LARGE))] {
        let error = outcome.expect_err("it does not fit");
        assert!(matches!(error, TaskError::Wire { .. }), "{error}");
        assert_names_limit(&error);
        assert!(error.to_string().contains("125829120 bytes"), "{error}");
    }
    assert_eq!(bytes(vec![1; 1 << 20]).expect("it fits"), 1 << 20);
    // `Bytes` are shared, not copied, so the limit does not apply.
    assert_eq!(shared(Bytes::from(vec![1; LARGE])).expect("it is shared"), LARGE);
}

#[test]
fn a_worker_that_dies_of_its_limit_is_an_error_that_names_it() {
    let error = numbers(vec![u64::MAX; LARGE / 8]).expect_err("it does not fit");
    assert!(matches!(error, TaskError::WorkerDied { signal: Some(libc::SIGABRT), .. }), "{error}");
    assert_names_limit(&error);
    let error = result(LARGE).expect_err("it does not fit");
    assert!(matches!(error, TaskError::WorkerDied { signal: Some(libc::SIGABRT), .. }), "{error}");
    assert_names_limit(&error);
}
