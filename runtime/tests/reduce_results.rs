//! `reduce = path` of functions that can fail: a plain function of their values, or one of their results.

use std::sync::atomic::{AtomicUsize, Ordering};

use fanfold::parallel;

fn add(a: u64, b: u64) -> u64 {
    a + b
}

fn merge<T: Ord>(mut a: Vec<T>, b: Vec<T>) -> Vec<T> {
    a.extend(b);
    a.sort();
    a
}

#[parallel(kind = "cpu", chunks = 4, reduce = add)]
fn checked_sum(numbers: &[u64]) -> Result<u64, String> {
    match numbers.iter().find(|n| **n > 90) {
        Some(n) => Err(format!("{n} is too large")),
        None => Ok(numbers.iter().sum()),
    }
}

#[parallel(kind = "cpu", chunks = 4, reduce = add)]
fn sum(numbers: &[u64]) -> u64 {
    numbers.iter().sum()
}

/// Keeps all errors.
fn join_errors(a: Result<u64, String>, b: Result<u64, String>) -> Result<u64, String> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok(a + b),
        (Err(a), Err(b)) => Err(format!("{a}, {b}")),
        (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(error),
    }
}

#[parallel(kind = "cpu", chunks = 4, reduce = join_errors)]
fn all_errors(numbers: &[u64]) -> Result<u64, String> {
    checked_sum::serial(numbers)
}

#[parallel(kind = "cpu", chunks = 3, reduce = merge)]
fn words<'a>(texts: Vec<&'a str>) -> Vec<&'a str> {
    texts
}

#[parallel(kind = "io", chunks = 3, reduce = merge::<String>)]
fn owned_words(texts: Vec<&str>) -> Result<Vec<String>, std::fmt::Error> {
    texts.into_iter().map(|text| if text.is_empty() { Err(std::fmt::Error) } else { Ok(text.to_owned()) }).collect()
}

#[test]
fn a_plain_function_folds_the_values_of_results() {
    let numbers: Vec<u64> = (0..80).collect();
    assert_eq!(checked_sum(&numbers), Ok(80 * 79 / 2));
    assert_eq!(sum(&numbers), 80 * 79 / 2);
    let numbers: Vec<u64> = (0..200).collect();
    // Chunks 1, 2 and 3 fail: the first of them is the result.
    assert_eq!(checked_sum(&numbers), Err("91 is too large".into()));
    assert_eq!(words(vec!["c", "a", "b"]), ["a", "b", "c"]);
    assert_eq!(owned_words(vec!["c", "a", "b"]), Ok(vec!["a".to_owned(), "b".into(), "c".into()]));
}

#[test]
fn a_function_of_results_sees_all_of_them() {
    let numbers: Vec<u64> = (0..200).collect();
    let errors = all_errors(&numbers).expect_err("three chunks fail");
    assert_eq!(errors, "91 is too large, 100 is too large, 150 is too large");
}

#[test]
fn no_chunk_is_started_behind_one_that_failed() {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    #[parallel(kind = "io", chunk_size = 1, reduce = add)]
    fn fails_at_once(numbers: &[u64]) -> Result<u64, u64> {
        RUNS.fetch_add(1, Ordering::Relaxed);
        Err(numbers[0])
    }
    assert_eq!(fails_at_once(&(0..10_000).collect::<Vec<_>>()), Err(0));
    assert!(RUNS.load(Ordering::Relaxed) < 10_000);
}
