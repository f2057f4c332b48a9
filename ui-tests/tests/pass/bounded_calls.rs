//! Time limits, retries and per-worker state in one place.
#![deny(warnings, clippy::pedantic)]
use fanfold::{TaskError, parallel};

#[derive(Debug)]
enum Error {
    Late,
    Odd,
}

impl From<TaskError> for Error {
    fn from(_: TaskError) -> Self {
        Error::Late
    }
}

#[allow(clippy::unnecessary_wraps, reason = "an initializer may fail")]
fn open() -> Result<Vec<u32>, String> {
    Ok(vec![])
}

#[parallel(kind = "io", timeout = "1h", retries = 2, backoff = "10us", init = open)]
fn check(#[worker] seen: &mut Vec<u32>, name: &'static str, n: u32) -> Result<usize, Error> {
    seen.push(n);
    if n % 2 == 0 { Ok(name.len()) } else { Err(Error::Odd) }
}

/// The longest limit that there is.
#[parallel(kind = "io", timeout = "5124095h", retries = 1, backoff = "5124095h")]
fn patient(n: u32) -> Result<u32, TaskError> {
    Ok(n)
}

#[test]
fn runs() {
    assert!(matches!(check("two", 2), Ok(3)));
    assert!(matches!(check("three", 3), Err(Error::Odd)));
    assert!(matches!(check::submit("four", 4).join(), Ok(Ok(4))));
    assert_eq!(check::map([("a", 0), ("bc", 2)]).collect::<Result<Vec<_>, _>>().unwrap(), [1, 2]);
    assert!(matches!(check::serial(&mut vec![], "x", 1), Err(Error::Odd)));
    assert_eq!(patient(5).unwrap(), 5);
    assert_eq!(patient::submit(6).join().unwrap().unwrap(), 6);
    assert_eq!(patient::map([7]).collect::<Result<Vec<_>, _>>().unwrap(), [7]);
}
