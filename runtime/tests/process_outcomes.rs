//! Maps in worker processes whose results go on in this process: outcomes of each item, second functions, filters,
//! numbers and states.

use std::panic::catch_unwind;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use fanfold::{Pool, TaskError, parallel};

fanfold::process_tests!();

static WORKERS: Pool = Pool::process("outcomes").threads(2);

#[parallel(kind = "process", pool = WORKERS)]
fn half(n: u32) -> u32 {
    match n {
        13 => process::abort(),
        17 => panic!("no {n}"),
        _ => n / 2,
    }
}

#[parallel(kind = "process", pool = WORKERS)]
fn checked(n: u32) -> Result<u32, TaskError> {
    if n == 13 { process::abort() } else { Ok(n) }
}

#[test]
fn a_worker_that_dies_is_the_error_of_its_item_alone() {
    let outcomes = half::map(0..40).outcomes();
    assert_eq!(outcomes.len(), 40);
    for (n, outcome) in (0..40).zip(outcomes) {
        match (n, outcome) {
            (13, Err(error @ TaskError::WorkerDied { .. })) => {
                let how = if cfg!(unix) { "SIGABRT" } else { "aborted" };
                assert!(error.to_string().contains(how), "{error}");
            }
            (17, Err(TaskError::Panicked { message, .. })) => assert_eq!(message, "no 17"),
            (n, Ok(result)) => assert_eq!(result, n / 2),
            (n, Err(error)) => panic!("{n}: {error}"),
        }
    }
    // Also where the function's own result could hold the error.
    let outcomes = checked::map([12, 13, 14]).outcomes();
    assert!(matches!(outcomes[..], [Ok(Ok(12)), Err(TaskError::WorkerDied { .. }), Ok(Ok(14))]), "{outcomes:?}");
}

#[test]
fn a_second_function_that_panics_is_an_error_too() {
    let second = |n: u32| if n == 4 { panic!("in this process") } else { n + 1 };
    for (n, outcome) in (10..20).zip(half::map(10..20).then(second).outcomes()) {
        match (n, outcome) {
            (13, Err(TaskError::WorkerDied { .. })) => {}
            (17, Err(TaskError::Panicked { message, .. })) => assert_eq!(message, "no 17"),
            (n, Ok(result)) => assert_eq!(result, n / 2 + 1),
            (n, Err(error)) => panic!("{n}: {error}"),
        }
    }
    let outcomes = half::map([8, 10]).then(second).outcomes();
    assert!(matches!(&outcomes[..], [Err(TaskError::Panicked { .. }), Ok(6)]), "{outcomes:?}");
    // Without `outcomes` a function whose result can hold the error gets it there, and a second function sees it.
    let deaths: Vec<bool> = checked::map([12, 13]).then(|result| result.is_err()).collect();
    assert_eq!(deaths, [false, true]);
}

#[test]
fn results_are_filtered_numbered_and_counted_in_this_process() {
    let items = || half::map(20..2_000);
    let kept: Vec<u32> = items().filter(|n| n % 3 == 0).collect();
    assert!(kept.into_iter().eq((20..2_000).map(|n| n / 2).filter(|n| n % 3 == 0)));
    let many: Vec<(usize, u32)> =
        items().enumerate().flat_map(|(place, n)| (0..n % 3).map(move |m| (place, m))).collect();
    let serial = (20..2_000).map(|n| n / 2).enumerate().flat_map(|(place, n)| (0..n % 3).map(move |m| (place, m)));
    assert!(many.into_iter().eq(serial));
    let named: Vec<(u32, String)> = items().zip((0..500).map(|n: u32| n.to_string())).collect();
    assert!(named.into_iter().eq((20..520).map(|n| n / 2).zip((0..500).map(|n: u32| n.to_string()))));
    assert_eq!(items().filter(|n| n % 2 == 0).count(), 990);
    assert_eq!(items().find_first(|n| *n > 100), Some(101));
    let first: Result<Vec<u32>, u32> =
        items().filter(|n| n % 2 == 0).then(|n| if n > 50 { Err(n) } else { Ok(n) }).collect();
    assert_eq!(first, Err(52));
    let sum = AtomicU32::new(0);
    items().for_each_init(|| (), |(), n| _ = sum.fetch_add(n, Ordering::Relaxed));
    assert_eq!(sum.into_inner(), (20..2_000).map(|n: u32| n / 2).sum::<u32>());
    let iterated: Vec<u32> = items().filter(|n| n % 5 == 0).into_iter().collect();
    assert!(iterated.into_iter().eq((20..2_000).map(|n| n / 2).filter(|n| n % 5 == 0)));
    // Workers of another pool have no process.
    let refused = catch_unwind(|| drop(fanfold::map(half::map(20..60), |n: u32| n)));
    let message = refused.expect_err("it is refused").downcast::<String>().expect("a message");
    assert!(message.contains("::half`") && message.contains("then"), "{message}");
}

#[test]
fn each_item_of_a_map_with_any_number_of_results_has_its_outcome() {
    let stage = |n: u32| (0..n % 3).inspect(|part| assert_ne!(*part, 1, "in this process"));
    let expected = (10..20).flat_map(|n| match n {
        13 | 17 => vec![None],
        n if n / 2 % 3 == 2 => vec![None],
        n => vec![Some(0); usize::try_from(n).unwrap_or(0) / 2 % 3],
    });
    assert!(half::map(10..20).flat_map(stage).outcomes().into_iter().map(Result::ok).eq(expected));
}
