//! Arguments and results that are too large for a worker's memory: the error names the limit and what to do.

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

/// Checks that the error names the limit, its option and a way out.
#[track_caller]
fn assert_named(error: &TaskError) {
    let said = error.to_string();
    assert!(said.contains("`memory_limit`") && said.contains("104857600 bytes"), "{said}");
    assert!(said.contains("raise it") && said.contains("send less at once"), "{said}");
}

#[test]
fn an_argument_that_is_copied_and_too_large_is_refused_with_the_limit() {
    for outcome in [bytes(vec![1; LARGE]), text("a".repeat(LARGE))] {
        let error = outcome.expect_err("it does not fit");
        assert!(matches!(error, TaskError::Wire { .. }), "{error}");
        assert_named(&error);
        assert!(error.to_string().contains("125829120 bytes"), "{error}");
    }
    assert_eq!(bytes(vec![1; 1 << 20]).expect("it fits"), 1 << 20);
    // Not copied, so not limited.
    assert_eq!(shared(Bytes::from(vec![1; LARGE])).expect("it is shared"), LARGE);
}

#[test]
fn what_ends_the_worker_is_told_with_the_limit() {
    let error = numbers(vec![u64::MAX; LARGE / 8]).expect_err("it does not fit");
    assert!(matches!(error, TaskError::WorkerDied { signal: Some(libc::SIGABRT), .. }), "{error}");
    assert_named(&error);
    let error = result(LARGE).expect_err("it does not fit");
    assert!(matches!(error, TaskError::WorkerDied { signal: Some(libc::SIGABRT), .. }), "{error}");
    assert_named(&error);
}
