//! `submit` of functions with `chunks`: the task cuts the arguments as the direct call does.

use std::collections::HashSet;
use std::sync::{Arc, Barrier};
use std::thread;

use fanfold::{Pool, TaskError, parallel};

static PAIR: Pool = Pool::cpu("pair").threads(2);
static READERS: Pool = Pool::io("readers").threads(3);

/// Each piece as text, such as `[1, 2]`.
#[parallel(kind = "cpu", chunks = 3)]
#[allow(clippy::needless_pass_by_value, reason = "each chunk gets a clone")]
fn pieces(numbers: &[u32], mark: String) -> Vec<String> {
    vec![format!("{numbers:?}{mark}")]
}

#[parallel(kind = "io", pool = READERS, chunk_size = 2)]
fn with_names(#[chunk] numbers: Vec<u32>, #[chunk] words: Vec<&'static str>) -> Vec<String> {
    vec![format!("{numbers:?}{words:?} on {}", thread::current().name().unwrap_or("?"))]
}

fn add(left: u64, right: u64) -> u64 {
    left + right
}

#[parallel(kind = "cpu", chunks = 4, reduce = add)]
fn total(numbers: Vec<u64>) -> u64 {
    numbers.into_iter().sum()
}

/// The two chunks wait for each other.
#[parallel(kind = "cpu", pool = PAIR, chunks = 2)]
#[allow(clippy::needless_pass_by_value, reason = "each chunk gets a clone")]
fn meet(range: std::ops::Range<u32>, barrier: Arc<Barrier>) -> Vec<u32> {
    barrier.wait();
    range.collect()
}

#[parallel(kind = "cpu", chunks = 4)]
fn checked(numbers: Vec<i32>) -> Result<Vec<i32>, String> {
    assert!(!numbers.contains(&13), "unlucky");
    match numbers.iter().find(|n| **n < 0) {
        Some(n) => Err(format!("{n} is negative")),
        None => Ok(numbers),
    }
}

#[parallel(kind = "cpu", chunks = N)]
fn generic<T: Clone + Send + Sync + 'static, const N: usize>(values: Vec<T>) -> Vec<usize> {
    vec![values.len()]
}

struct Table {
    offset: u32,
}

impl Table {
    #[parallel(kind = "cpu", chunks = 2)]
    fn shifted(&self, numbers: Vec<u32>) -> Vec<(usize, u32)> {
        let len = numbers.len();
        numbers.into_iter().map(|n| (len, n + self.offset)).collect()
    }
}

fn state() -> u32 {
    0
}

#[parallel(kind = "io", pool = READERS, init = state, chunks = 3)]
fn counted(#[worker] calls: &mut u32, numbers: Vec<u32>) -> Vec<usize> {
    *calls += 1;
    vec![numbers.len()]
}

#[test]
fn a_task_cuts_as_the_direct_call_does() {
    static NUMBERS: [u32; 5] = [1, 2, 3, 4, 5];
    let direct = pieces(&NUMBERS, "!".into());
    assert_eq!(direct.len(), 3);
    assert_eq!(pieces::submit(&NUMBERS, "!".into()).join().unwrap(), direct);
    assert_eq!(total::submit((0..1_000).collect()).join().unwrap(), 499_500);
    assert_eq!(generic::submit::<u8, 5>(vec![0; 10]).join().unwrap(), [2; 5]);
    assert_eq!(counted::submit(vec![0; 6]).join().unwrap(), [2, 2, 2]);
    let results = with_names::submit(vec![1, 2, 3], vec!["a", "b", "c"]).join().unwrap();
    assert_eq!(results.len(), 2);
    assert!(results[0].starts_with("[1, 2][\"a\", \"b\"] on fanfold-readers-"), "{results:?}");
}

#[test]
fn lifetimes_of_the_signature_may_have_names() {
    #[parallel(kind = "cpu", chunks = 2)]
    fn starting_with<'a>(words: &'a [&'a str], start: &'a str, _: std::borrow::Cow<'a, str>) -> Vec<&'a str> {
        words.iter().copied().filter(|word| word.starts_with(start)).collect()
    }
    let words = ["fold".to_owned(), "map".to_owned(), "fan".to_owned()];
    let borrowed = words.each_ref().map(String::as_str);
    assert_eq!(starting_with(&borrowed, "f", "".into()), ["fold", "fan"]);
    assert_eq!(starting_with::submit(&["fold", "map", "fan"], "m", "".into()).join().unwrap(), ["map"]);
}

#[test]
fn chunks_of_a_task_run_at_the_same_time() {
    let meeting = meet::submit(0..10, Arc::new(Barrier::new(2)));
    assert!(meeting.join().unwrap().into_iter().eq(0..10));
}

#[test]
fn a_method_cuts_for_its_task() {
    let table = Arc::new(Table { offset: 10 });
    let shifted = table.shifted_submit(vec![1, 2, 3, 4]).join().unwrap();
    assert_eq!(shifted, [(2, 11), (2, 12), (2, 13), (2, 14)]);
}

#[test]
fn errors_and_panics_are_those_of_the_direct_call() {
    assert_eq!(checked::submit(vec![1, -2, 3, -4]).join().unwrap(), Err("-2 is negative".to_owned()));
    let error = checked::submit(vec![1, 13, 3, 4]).join().unwrap_err();
    assert!(matches!(&error, TaskError::Panicked { message, .. } if message == "unlucky"), "{error}");
    assert_eq!(checked::submit(vec![]).join().unwrap(), checked(vec![]));
}

#[test]
fn a_task_on_a_chosen_pool_cuts_there() {
    let chosen = Pool::io("chosen").threads(2).build().unwrap();
    let direct = with_names::on(&chosen).call(vec![1, 2, 3], vec!["a", "b", "c"]);
    let results = with_names::on(&chosen).submit(vec![1, 2, 3], vec!["a", "b", "c"]).join().unwrap();
    assert_eq!((results.len(), direct.len()), (2, 2));
    assert!(results.iter().all(|result| result.contains(" on fanfold-chosen-")), "{results:?}");
}

#[test]
fn a_cancelled_task_stops_its_chunks() {
    #[parallel(kind = "cpu", pool = PAIR, chunks = 2)]
    #[allow(clippy::needless_pass_by_value, reason = "each chunk gets a clone")]
    fn until_cancelled(range: std::ops::Range<u32>, started: std::sync::mpsc::Sender<()>) -> Vec<u32> {
        started.send(()).ok();
        while !fanfold::cancelled() {
            thread::yield_now();
        }
        range.collect()
    }
    let (started, starts) = std::sync::mpsc::channel();
    let task = until_cancelled::submit(0..4, started);
    starts.recv().unwrap();
    starts.recv().unwrap();
    assert!(!task.cancel());
    // Both have started. Each chunk ends, as it sees the flag of the task that waits for it.
    let distinct: HashSet<u32> = task.join().unwrap().into_iter().collect();
    assert_eq!(distinct.len(), 4);
}
