//! Results of tasks with the keys of their tasks, and with one error instead of two.

use std::error::Error;
use std::io;
use std::sync::mpsc;
use std::time::Duration;

use fanfold::{Pool, TaskError, as_completed, parallel};

#[test]
fn results_come_with_the_keys_of_their_tasks() {
    let pool = Pool::io("keys").threads(2).build().expect("threads start");
    let (release, released) = mpsc::channel::<()>();
    let (slow_key, quick_key) = ("slow".to_owned(), "quick".to_owned());
    let slow = pool.submit(move || released.recv().is_err());
    let quick = pool.submit(|| true);
    let mut results = as_completed(vec![(slow_key, slow), (quick_key, quick)]);
    assert_eq!(results.len(), 2);
    let (key, result) = results.next().expect("two tasks");
    assert_eq!((key.as_str(), result.expect("no panic")), ("quick", true));
    drop(release);
    let (key, result) = results.next().expect("two tasks");
    assert_eq!((key.as_str(), result.expect("no panic")), ("slow", true));
    assert!(results.next().is_none());
}

#[test]
fn keys_need_no_traits_and_come_with_timeouts_and_in_streams() {
    struct Key(u32);
    let pool = Pool::io("keys").threads(1).build().expect("threads start");
    let (release, released) = mpsc::channel::<()>();
    let held = pool.submit(move || released.recv().is_err());
    let mut results = as_completed([(Key(7), held)]).timeout(Duration::from_millis(1));
    assert!(matches!(results.next(), Some((Key(7), Err(TaskError::TimedOut { .. })))));
    assert!(results.next().is_none());
    drop(release);
    let mut stream = as_completed([(Key(8), pool.submit(|| 1))]).stream();
    let (key, result) = pollster::block_on(stream.next()).expect("one task");
    assert_eq!((key.0, result.expect("no panic")), (8, 1));
    assert!(pollster::block_on(stream.next()).is_none());
    assert!(pollster::block_on(stream.next()).is_none(), "it stays at its end");
}

#[parallel(kind = "io")]
fn read(path: &'static str) -> io::Result<String> {
    assert!(!path.is_empty(), "a path is needed");
    std::fs::read_to_string(path)
}

#[test]
fn flattened_tasks_have_one_error() {
    let missing = read::submit("/no/such/file").flatten();
    assert!(format!("{missing:?}").starts_with("Task {"));
    assert_eq!(missing.join().expect_err("no file").kind(), io::ErrorKind::NotFound);
    let panicked = read::submit("").flatten().join().expect_err("it panics");
    assert!(panicked.to_string().contains("a path is needed"), "{panicked}");
    let panicked = panicked.downcast::<TaskError>().expect("it is the task's");
    assert!(matches!(panicked, TaskError::Panicked { .. }));

    let pool = Pool::cpu("flat").threads(1).build().expect("threads start");
    let good = pool.submit(|| Ok::<_, Box<dyn Error + Send + Sync>>(7)).flatten();
    assert_eq!(pollster::block_on(good).expect("no error"), 7);
    let bad = pool.submit(|| Err::<u32, Box<dyn Error + Send + Sync>>("bad".into())).flatten();
    assert_eq!(pollster::block_on(bad).expect_err("an error").to_string(), "bad");
    let task = pool.submit(|| Ok::<_, TaskError>(7)).flatten().into_task();
    assert!(matches!(task.join(), Ok(Ok(7))));
}

#[parallel(kind = "io", timeout = "1ms")]
fn wait_until_stopped() -> io::Result<()> {
    while !fanfold::cancelled() {
        std::thread::yield_now();
    }
    Ok(())
}

#[test]
fn an_io_result_has_a_place_for_a_time_limit() {
    assert_eq!(wait_until_stopped().expect_err("it waits").kind(), io::ErrorKind::TimedOut);
}
