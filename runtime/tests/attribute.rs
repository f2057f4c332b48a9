//! Functions with `#[parallel]`: direct calls, `submit`, `map`, chunks, and the signatures that are supported.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::mpsc;
use std::thread;

use fanfold::{Pool, TaskError, parallel};

#[parallel(kind = "cpu")]
fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[parallel(kind = "cpu")]
fn longest<'a>(words: &'a [&'a str]) -> Option<&'a str> {
    words.iter().copied().max_by_key(|word| word.len())
}

#[parallel(kind = "io")]
fn worker_name() -> Option<String> {
    thread::current().name().map(String::from)
}

#[parallel(kind = "cpu")]
fn cpu_worker_name(_: u8) -> Option<String> {
    thread::current().name().map(String::from)
}

#[test]
fn a_direct_call_gives_the_result_of_the_body() {
    assert_eq!(add(2, 3), 5);
    assert_eq!(add::serial(2, 3), 5);
    let words = vec!["a", "abc", "ab"];
    assert_eq!(longest(&words), Some("abc"));
}

#[test]
fn each_kind_runs_on_its_own_named_threads() {
    let io = worker_name().expect("workers have names");
    assert!(io.starts_with("fanfold-io-"), "{io}");
    let cpu = cpu_worker_name(0).expect("workers have names");
    assert!(cpu.starts_with("fanfold-cpu-"), "{cpu}");
    let serial = worker_name::serial();
    assert_eq!(serial.as_deref(), thread::current().name());
}

#[test]
fn submitted_tasks_join_in_any_order() {
    let tasks: Vec<_> = (0..100).map(|n| add::submit(n, n)).collect();
    for (n, task) in tasks.into_iter().enumerate().rev() {
        assert_eq!(task.join().expect("no panic"), 2 * n as u64);
    }
}

#[test]
fn a_dropped_task_still_runs() {
    #[parallel(kind = "io")]
    fn send(to: mpsc::Sender<u8>) {
        to.send(7).expect("the test receives");
    }
    let (to, from) = mpsc::channel();
    drop(send::submit(to));
    assert_eq!(from.recv(), Ok(7));
}

#[test]
fn map_keeps_input_order_for_every_item_type() {
    #[parallel(kind = "cpu")]
    fn double(n: u32) -> u32 {
        n * 2
    }
    let expected: Vec<u32> = (0..10_000).map(|n| n * 2).collect();
    let numbers: Vec<u32> = (0..10_000).collect();
    assert_eq!(double::map(0..10_000).collect::<Vec<_>>(), expected);
    assert_eq!(double::map(&numbers).collect::<Vec<_>>(), expected);
    assert_eq!(double::map(&numbers[..]).collect::<Vec<_>>(), expected);
    assert_eq!(double::map(numbers.iter().copied()).collect::<Vec<_>>(), expected);
    assert_eq!(double::map(numbers.clone()).chunk_size(7).collect::<Vec<_>>(), expected);
    assert_eq!(double::map(numbers).chunks(3).collect::<Vec<_>>(), expected);
    assert_eq!(double::map([1, 2]).collect::<HashSet<_>>(), HashSet::from([2, 4]));
    assert!(double::map(0..0).collect::<Vec<_>>().is_empty());
}

#[test]
fn map_borrows_items_and_takes_pairs() {
    #[parallel(kind = "cpu")]
    fn length(word: &str) -> usize {
        word.len()
    }
    let words = [String::from("one"), String::from("three")];
    assert_eq!(length::map(words.iter().map(String::as_str)).collect::<Vec<_>>(), [3, 5]);
    assert_eq!(add::map(fanfold::zip(vec![1, 2], 10..)).collect::<Vec<_>>(), [11, 13]);
    assert_eq!(add::map([(1, 1), (2, 2)]).collect::<Vec<_>>(), [2, 4]);
}

#[test]
fn an_iterator_is_advanced_only_on_the_calling_thread() {
    let caller = thread::current().id();
    // `Rc` is not `Send`, so the iterator cannot be sent to a worker.
    let count = std::rc::Rc::new(std::cell::Cell::new(0_u64));
    let items = (0..5_000_u64).map(|n| {
        assert_eq!(thread::current().id(), caller);
        count.set(count.get() + 1);
        (n, 1)
    });
    let sums: Vec<u64> = add::map(items).collect();
    assert_eq!(sums, (1..=5_000).collect::<Vec<_>>());
    assert_eq!(count.get(), 5_000);
}

#[parallel(kind = "cpu")]
fn positive(n: i32) -> Result<i32, String> {
    if n > 0 { Ok(n) } else { Err(format!("{n} is not positive")) }
}

#[test]
fn collecting_results_gives_the_first_failure_in_input_order_and_stops() {
    let good: Result<Vec<i32>, String> = positive::map(1..=1_000).collect();
    assert_eq!(good, Ok((1..=1_000).collect()));
    for _ in 0..50 {
        let items = (1..100_000).map(|n| if n == 300 || n == 70_000 { -n } else { n });
        let bad: Result<Vec<i32>, String> = positive::map(items).chunk_size(16).collect();
        assert_eq!(bad, Err(String::from("-300 is not positive")));
    }
    // An infinite source ends at the first failure.
    let bad: Result<Vec<i32>, String> = positive::map((0..).map(|n| 5_000 - n)).collect();
    assert_eq!(bad, Err(String::from("0 is not positive")));
}

#[test]
fn panics_resume_in_the_caller_with_their_payload() {
    #[parallel(kind = "cpu")]
    fn fail(n: u32) -> u32 {
        if n == 5 {
            std::panic::panic_any(n);
        }
        n
    }
    let payload = std::panic::catch_unwind(|| fail(5)).expect_err("it panics");
    assert_eq!(payload.downcast_ref(), Some(&5_u32));
    let payload = std::panic::catch_unwind(|| fail::map(0..100).collect::<Vec<_>>()).expect_err("it panics");
    assert_eq!(payload.downcast_ref(), Some(&5_u32));
    match fail::submit(5).join() {
        Err(TaskError::Panicked { function, payload, .. }) => {
            assert!(function.ends_with("::fail"), "{function}");
            assert_eq!(payload.into_inner().downcast_ref(), Some(&5_u32));
        }
        other => panic!("expected a panic, got {other:?}"),
    }
    // The workers survive the panics.
    assert_eq!(fail(6), 6);
}

#[test]
fn chunks_are_split_mapped_and_gathered() {
    #[parallel(kind = "cpu", chunks = 3)]
    fn scale(numbers: &[f64], factor: f64) -> Vec<f64> {
        numbers.iter().map(|n| n * factor).collect()
    }
    #[parallel(kind = "cpu", chunks = 4)]
    fn increase(numbers: &mut [u32], by: &[u32]) {
        numbers.iter_mut().for_each(|n| *n += by[0]);
    }
    #[parallel(kind = "io", chunk_size = 2)]
    fn sizes(names: Vec<String>) -> Vec<usize> {
        names.iter().map(String::len).collect()
    }
    #[parallel(kind = "cpu", chunks = "auto")]
    fn letters(text: &str) -> BTreeMap<char, Vec<usize>> {
        let mut lines: BTreeMap<char, Vec<usize>> = BTreeMap::new();
        for line in text.lines() {
            if let Some(first) = line.chars().next() {
                lines.entry(first).or_default().push(line.len());
            }
        }
        lines
    }
    assert_eq!(scale(&[1.0, 2.0, 3.0, 4.0], 0.5), [0.5, 1.0, 1.5, 2.0]);
    assert!(scale(&[], 0.5).is_empty());
    let mut numbers = [1, 2, 3, 4, 5, 6];
    increase(&mut numbers, &[10]);
    assert_eq!(numbers, [11, 12, 13, 14, 15, 16]);
    assert_eq!(sizes(vec!["a".into(), "bb".into(), "ccc".into()]), [1, 2, 3]);
    let text = "ab\nb\nabc\nc\nb2";
    assert_eq!(letters(text), letters::serial(text));
}

#[test]
fn reduce_folds_chunks_in_order() {
    const PIECES: usize = 7;
    const MANY: u64 = if cfg!(miri) { 1_000 } else { 1_000_000 };
    fn join(left: String, right: String) -> String {
        [left, right].concat()
    }
    fn plus(a: u64, b: u64) -> u64 {
        a + b
    }
    #[parallel(kind = "cpu", chunks = PIECES, reduce = join)]
    fn digits(range: Range<u32>) -> String {
        range.map(|n| n.to_string()).collect()
    }
    #[parallel(kind = "cpu", chunks = 2, reduce = plus)]
    fn sum(range: Range<u64>) -> u64 {
        range.sum()
    }
    for _ in 0..20 {
        assert_eq!(digits(0..30), digits::serial(0..30));
    }
    assert_eq!(sum(0..MANY), MANY * (MANY - 1) / 2);
}

#[test]
fn arguments_marked_as_chunks_are_split_alike() {
    #[parallel(kind = "cpu", chunks = 3)]
    fn dot(factor: i64, #[chunk] left: &[i64], #[chunk] right: Vec<i64>) -> Vec<i64> {
        assert_eq!(left.len(), right.len());
        left.iter().zip(right).map(|(a, b)| factor * a * b).collect()
    }
    assert_eq!(dot(2, &[1, 2, 3, 4], vec![5, 6, 7, 8]), [10, 24, 42, 64]);
    let payload = std::panic::catch_unwind(|| dot(1, &[1, 2, 3], vec![1])).expect_err("unequal lengths");
    let message = payload.downcast_ref::<String>().expect("a message");
    assert!(message.contains("dot`") && message.contains("3 and 1"), "{message}");
}

#[test]
fn the_first_failing_chunk_gives_the_error() {
    #[parallel(kind = "cpu", chunks = 8)]
    fn check(numbers: Vec<i32>) -> Result<Vec<i32>, i32> {
        match numbers.iter().find(|n| **n < 0) {
            Some(bad) => Err(*bad),
            None => Ok(numbers),
        }
    }
    assert_eq!(check((0..100).collect()), Ok((0..100).collect()));
    for _ in 0..50 {
        let numbers = (0..100).map(|n| if n == 20 || n == 90 { -n } else { n }).collect();
        assert_eq!(check(numbers), Err(-20));
    }
}

#[test]
fn recursion_runs_nested_calls_on_the_same_worker() {
    #[parallel(kind = "cpu")]
    fn fib(n: u32) -> u32 {
        if n < 2 { n } else { fib(n - 1) + fib(n - 2) }
    }
    #[parallel(kind = "cpu")]
    fn nested(depth: u32) -> u32 {
        if depth == 0 {
            return 1;
        }
        nested::map([depth - 1, depth - 1]).collect::<Vec<_>>().iter().sum()
    }
    #[parallel(kind = "cpu")]
    fn submits(depth: u32) -> u32 {
        if depth == 0 { 0 } else { 1 + submits::submit(depth - 1).join().expect("no panic") }
    }
    assert_eq!(fib(12), 144);
    assert_eq!(nested(8), 256);
    assert_eq!(submits(50), 50);
}

static ONE: Pool = Pool::io("one").threads(1);

#[test]
fn a_named_pool_uses_only_its_own_threads_and_nests_with_one_thread() {
    #[parallel(kind = "io", pool = ONE)]
    fn name(depth: u32) -> String {
        if depth > 0 {
            return name::submit(depth - 1).join().expect("no panic");
        }
        thread::current().name().unwrap_or_default().to_owned()
    }
    assert_eq!(name(0), "fanfold-one-0");
    assert_eq!(name(10), "fanfold-one-0");
    let names: HashSet<String> = name::map(vec![2; 20]).collect();
    assert_eq!(names, HashSet::from([String::from("fanfold-one-0")]));
}

#[test]
fn generics_patterns_and_impl_trait_arguments() {
    #[parallel(kind = "cpu")]
    fn repeat<T: Clone + Send, const N: usize>(value: T) -> [T; N] {
        std::array::from_fn(|_| value.clone())
    }
    #[parallel(kind = "cpu")]
    fn only_in_body<T: Default + std::fmt::Debug>(_: u8) -> String {
        format!("{:?}", T::default())
    }
    #[parallel(kind = "cpu")]
    fn patterns((a, b): (u32, u32), mut c: Vec<u32>, _: u8, [d, ..]: [u32; 3]) -> u32 {
        c.push(a + b + d);
        c.iter().sum()
    }
    #[parallel(kind = "io")]
    fn count(words: impl Iterator<Item = String> + Send, more: &(impl AsRef<[u8]> + Sync)) -> usize {
        words.count() + more.as_ref().len()
    }
    assert_eq!(repeat::<_, 3>('x'), ['x'; 3]);
    assert_eq!(repeat::submit::<u8, 2>(1).join().expect("no panic"), [1, 1]);
    assert_eq!(only_in_body::<Vec<u8>>(0), "[]");
    assert_eq!(only_in_body::submit::<Option<u8>>(0).join().expect("no panic"), "None");
    assert_eq!(patterns((1, 2), vec![10], 0, [5, 6, 7]), 18);
    let words = vec![String::from("a"); 4];
    assert_eq!(count(words.clone().into_iter(), &[1_u8, 2]), 6);
    assert_eq!(count::submit(words.into_iter(), &"abc").join().expect("no panic"), 7);
}

#[test]
fn a_parameter_may_have_the_functions_name() {
    #[parallel(kind = "cpu")]
    fn words(words: Vec<String>) -> usize {
        words.len()
    }
    #[parallel(kind = "io", timeout = "1h", retries = 1)]
    fn pair((pair, more): (String, String)) -> Result<String, TaskError> {
        Ok(pair.clone() + &more)
    }
    #[parallel(kind = "cpu", chunks = 2)]
    fn parts(#[chunk] parts: Vec<u8>) -> Vec<u8> {
        parts
    }
    assert_eq!(words(vec![String::new(); 3]), 3);
    assert_eq!(words::submit(vec![String::new(); 2]).join().expect("no panic"), 2);
    assert_eq!(pair((String::from("a"), String::from("b"))).expect("in time"), "ab");
    assert_eq!(parts(vec![1, 2, 3]), [1, 2, 3]);
}

#[test]
fn tasks_can_be_awaited_without_a_runtime() {
    struct Unpark(thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::task::Waker::from(std::sync::Arc::new(Unpark(thread::current())));
    let mut context = std::task::Context::from_waker(&waker);
    let mut task = std::pin::pin!(add::submit(20, 22));
    let sum = loop {
        match task.as_mut().poll(&mut context) {
            std::task::Poll::Ready(sum) => break sum,
            std::task::Poll::Pending => thread::park(),
        }
    };
    assert_eq!(sum.expect("no panic"), 42);
}

use std::future::Future as _;
