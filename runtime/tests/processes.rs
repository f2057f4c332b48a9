//! Functions of `kind = "process"`: direct calls, tasks, maps, and every option.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::process;
use std::time::Duration;

use fanfold::{Bytes, Pool, TaskError, Until, as_completed, cancelled, join_all, parallel, wait, zip};
use serde::{Deserialize, Serialize};

fanfold::process_tests!();

#[parallel(kind = "process")]
fn pid() -> u32 {
    process::id()
}

#[parallel(kind = "process")]
fn add(a: u32, b: u32) -> u32 {
    a + b
}

#[test]
fn a_call_runs_in_another_process() {
    assert_ne!(pid(), process::id());
    assert_eq!(pid::serial(), process::id());
    assert_eq!(add(1, 2), 3);
}

#[test]
fn submitted_calls_are_joined() {
    let task = add::submit(1, 2);
    assert_eq!(task.join().expect("no panic"), 3);
    let tasks: Vec<_> = (0..100).map(|n| add::submit(n, n)).collect();
    assert_eq!(join_all(tasks).expect("no panic"), (0..100).map(|n| n * 2).collect::<Vec<_>>());
    let mut seen: Vec<_> = as_completed((0..10).map(|n| add::submit(n, 1))).map(|(n, sum)| (n, sum.unwrap())).collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..10).map(|n| (n as usize, n + 1)).collect::<Vec<_>>());
    let tasks = [add::submit(1, 1), add::submit(2, 2)];
    let (done, pending) = wait(&tasks, Until::All, None);
    assert_eq!((done.len(), pending.len()), (2, 0));
}

#[parallel(kind = "process")]
fn square(n: u64) -> u64 {
    n * n
}

#[test]
fn a_process_map_keeps_the_order_of_its_items() {
    let squares: Vec<u64> = square::map(0..10_000).collect();
    assert_eq!(squares, (0..10_000).map(|n| n * n).collect::<Vec<u64>>());
    assert_eq!(square::map(0..1_000).sum::<u64>(), (0..1_000).map(|n: u64| n * n).sum::<u64>());
    assert_eq!(square::map(vec![3, 4]).reduce(|| 0, |a, b| a + b), 25);
    let mut streamed = Vec::new();
    square::map(0..1_000).for_each_ordered(|n| streamed.push(n));
    assert!(streamed.into_iter().eq((0..1_000).map(|n| n * n)));
    assert_eq!(square::map(0..).buffer(8).into_iter().take(4).collect::<Vec<_>>(), [0, 1, 4, 9]);
    let mut any: Vec<u64> = square::map(0..100).unordered().into_iter().collect();
    any.sort_unstable();
    assert_eq!(any, (0..100).map(|n| n * n).collect::<Vec<u64>>());
    let sums: Vec<u32> = add::map(zip(0..10, 10..20)).collect();
    assert_eq!(sums, (0..10).map(|n| 2 * n + 10).collect::<Vec<_>>());
    assert!(square::map(Vec::new()).collect::<Vec<_>>().is_empty());
}

mod near {
    #[fanfold::parallel(kind = "process")]
    pub(crate) fn module_name() -> String {
        "near".into()
    }

    #[fanfold::parallel(kind = "process")]
    pub(crate) fn add(a: u32, b: u32) -> u32 {
        a + b + 100
    }
}

mod far {
    #[fanfold::parallel(kind = "process")]
    pub(crate) fn module_name() -> String {
        "far".into()
    }
}

#[test]
fn functions_of_equal_names_are_distinguished() {
    assert_eq!((near::module_name(), far::module_name()), ("near".into(), "far".into()));
    assert_eq!((add(1, 2), near::add(1, 2)), (3, 103));
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Circle { radius: f64 },
    Polygon(Vec<(f64, f64)>),
    Nothing,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(clippy::option_option, reason = "not every format can tell the three apart")]
struct Scene {
    name: String,
    shapes: BTreeMap<u64, Option<Shape>>,
    nested: Option<Option<Box<Scene>>>,
    bytes: Bytes,
}

#[parallel(kind = "process")]
fn echo(scene: Scene, times: usize) -> Vec<Scene> {
    vec![scene; times]
}

#[test]
fn serializable_values_come_back_equal() {
    let shapes = [(1, None), (u64::MAX, Some(Shape::Circle { radius: f64::MIN })), (3, Some(Shape::Nothing))];
    let inner = Scene { name: String::new(), shapes: BTreeMap::new(), nested: None, bytes: Bytes::from(&b""[..]) };
    let scene = Scene {
        name: "a scene äöü".into(),
        shapes: shapes.into_iter().chain([(4, Some(Shape::Polygon(vec![(0.5, -0.0); 3])))]).collect(),
        nested: Some(Some(Box::new(inner.clone()))),
        bytes: Bytes::from(vec![1, 2, 3]),
    };
    assert_eq!(echo(scene.clone(), 2), [scene.clone(), scene.clone()]);
    // `Some(None)` differs from `None`.
    let scene = Scene { nested: Some(None), ..scene };
    assert_eq!(echo(scene.clone(), 1), [scene]);
}

#[test]
fn results_larger_than_any_buffer_come_back_complete() {
    let scene = Scene { name: "x".repeat(1_000), shapes: BTreeMap::new(), nested: None, bytes: vec![7; 999].into() };
    assert_eq!(echo(scene.clone(), 5_000), vec![scene; 5_000]);
}

#[parallel(kind = "process")]
fn reverse(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.reverse();
    bytes
}

#[parallel(kind = "process")]
fn sum_of(bytes: Bytes) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte)).sum()
}

#[parallel(kind = "process")]
fn echo_bytes(bytes: Bytes) -> Bytes {
    bytes
}

#[parallel(kind = "process")]
fn upper(text: String) -> String {
    text.to_uppercase()
}

#[test]
fn bytes_of_every_size_come_back() {
    for size in [0, 1, 100, 32_767, 32_768, 65_519, 65_520, 65_521, 1 << 20, (1 << 20) + 1, 5_000_000] {
        let bytes: Vec<u8> = (0..size).map(|n: usize| n.to_le_bytes()[0]).collect();
        let backwards: Vec<u8> = bytes.iter().rev().copied().collect();
        assert_eq!(reverse(bytes.clone()), backwards, "{size}");
        assert_eq!(sum_of(Bytes::from(bytes.clone())), bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>());
        assert_eq!(echo_bytes(Bytes::from(bytes.clone())), Bytes::from(bytes), "{size}");
        assert_eq!(upper("ä".repeat(size)), "Ä".repeat(size), "{size}");
    }
}

#[test]
fn bytes_outlive_the_call_that_returned_them() {
    let views: Vec<Bytes> = (0..8_u8).map(|n| echo_bytes(vec![n; 1 << 20].into())).collect();
    for (n, view) in (0..).zip(&views) {
        assert!(view.iter().all(|byte| *byte == n));
    }
    let shared = views[3].clone();
    drop(views);
    assert_eq!(Vec::from(shared), vec![3; 1 << 20]);
}

#[parallel(kind = "process")]
fn open(path: String) -> io::Result<u64> {
    Ok(std::fs::metadata(path)?.len())
}

#[parallel(kind = "process")]
fn parse(text: String) -> Result<u32, Box<dyn std::error::Error + Send + Sync>> {
    Ok(text.parse()?)
}

#[test]
fn errors_that_are_not_serializable_come_back_as_their_message() {
    let error = open("/no/such/file".into()).expect_err("it does not exist");
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(open("/".into()).is_ok());
    assert_eq!(parse("12".into()).expect("a number"), 12);
    assert_eq!(parse("twelve".into()).expect_err("no number").to_string(), "invalid digit found in string");
    let all: Result<Vec<u32>, _> = parse::map(["1", "2", "x"].map(String::from)).collect();
    assert!(all.is_err());
}

#[parallel(kind = "process")]
fn share(total: u32, people: u32) -> u32 {
    total / people
}

#[test]
fn a_panic_comes_back_with_its_message_and_location() {
    let error = share::submit(1, 0).join().expect_err("it panics");
    let TaskError::Panicked { message, location: Some(location), function, .. } = &error else { panic!("{error}") };
    assert_eq!(message, "attempt to divide by zero");
    assert!(location.contains("processes.rs:"), "{location}");
    assert_eq!(*function, "processes::share");
    let panic = std::panic::catch_unwind(|| share(1, 0)).expect_err("it panics");
    assert_eq!(panic.downcast_ref::<String>().map(String::as_str), Some("attempt to divide by zero"));
    // The worker survives.
    assert_eq!(share(6, 3), 2);
}

#[parallel(kind = "process", timeout = "100ms")]
fn spin(forever: bool) -> Result<u32, TaskError> {
    if forever {
        loop {
            std::hint::spin_loop();
        }
    }
    Ok(process::id())
}

#[test]
fn a_call_past_its_timeout_is_killed() {
    assert!(matches!(spin(true), Err(TaskError::TimedOut { after }) if after == Duration::from_millis(100)));
    assert!(spin(false).is_ok());
    assert!(matches!(spin::submit(true).join(), Err(TaskError::TimedOut { .. })));
    let all: Vec<_> = spin::map([false, true, false]).collect();
    assert!(matches!(all[..], [Ok(_), Err(TaskError::TimedOut { .. }), Ok(_)]), "{all:?}");
}

static ONE: Pool = Pool::process("one").threads(1);

#[parallel(kind = "process", pool = ONE)]
fn wait_forever(begun: fanfold::Sender<u32>) {
    begun.send(process::id()).expect("it is waited for");
    while !cancelled() {
        std::thread::park();
    }
}

#[parallel(kind = "process", pool = ONE)]
fn pid_of_one() -> u32 {
    process::id()
}

#[test]
fn a_cancelled_task_does_not_run_and_a_running_task_is_killed() {
    let (begun, begins) = fanfold::channel();
    let running = wait_forever::submit(begun.clone());
    // A running task may not have reached its worker yet; then that worker is not killed.
    let before = begins.recv().expect("it begins");
    assert!(running.is_running());
    let queued = wait_forever::submit(begun);
    assert!(queued.cancel());
    assert!(matches!(queued.join(), Err(TaskError::Cancelled)));
    assert!(!running.cancel());
    assert!(matches!(running.join(), Err(TaskError::Cancelled)));
    assert_ne!(pid_of_one(), before);
}

#[test]
fn a_dropped_handle_that_cancels_kills_the_worker() {
    let (begun, begins) = fanfold::channel();
    let running = wait_forever::submit(begun).cancel_on_drop();
    let before = begins.recv().expect("it begins");
    drop(running);
    assert_ne!(pid_of_one(), before);
}

static COUNTERS: Pool = Pool::process("counters").threads(1);

fn start() -> std::io::Result<Vec<u32>> {
    std::env::current_dir()?;
    Ok(vec![process::id()])
}

#[parallel(kind = "process", pool = COUNTERS, init = start)]
fn count(#[worker] calls: &mut Vec<u32>, n: u32) -> (u32, usize) {
    calls.push(n);
    (calls[0], calls.len())
}

fn fail() -> Result<u32, &'static str> {
    Err("no database")
}

#[parallel(kind = "process", init = fail)]
fn never(#[worker] state: &mut u32) -> u32 {
    *state
}

#[test]
fn state_is_made_once_for_each_worker_process() {
    let (worker, first) = count(1);
    assert_eq!(first, 2, "the state, and the first call's number");
    assert_eq!(count(2), (worker, 3));
    assert_eq!(count::map(0..3).collect::<Vec<_>>(), [(worker, 4), (worker, 5), (worker, 6)]);
    let error = never::submit().join().expect_err("no state");
    assert!(matches!(&error, TaskError::Init { message, .. } if message.contains("no database")), "{error}");
}

static REPLACED: Pool = Pool::process("replaced").threads(1).max_tasks_per_worker(3);

#[parallel(kind = "process", pool = REPLACED)]
fn pid_of_replaced() -> u32 {
    process::id()
}

#[test]
fn a_worker_is_replaced_after_max_tasks_per_worker() {
    let pids: Vec<u32> = (0..9).map(|_| pid_of_replaced()).collect();
    assert_eq!(pids.iter().collect::<HashSet<_>>().len(), 3, "{pids:?}");
    assert!(pids.chunks(3).all(|three| three[0] == three[1] && three[1] == three[2]), "{pids:?}");
}

static TRIED: Pool = Pool::process("tried").threads(1);

#[parallel(kind = "process", pool = TRIED, retries = 5, init = u32::default)]
fn third_time(#[worker] tries: &mut u32) -> Result<u32, String> {
    *tries += 1;
    if tries.is_multiple_of(3) { Ok(*tries) } else { Err(format!("try {tries}")) }
}

#[parallel(kind = "process", pool = TRIED, retries = 2)]
fn crash_unless(path: String) -> Result<u32, TaskError> {
    let tries = std::fs::read(&path).map_or(0, |file| file.len());
    std::fs::write(&path, vec![0; tries + 1]).expect("the build's folder can be written");
    if tries < 2 {
        process::abort();
    }
    Ok(1)
}

#[test]
fn failures_and_crashes_are_retried() {
    assert_eq!(third_time(), Ok(3));
    let path = format!("{}/tries-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let _ = std::fs::remove_file(&path);
    assert_eq!(crash_unless(path).expect("the third time"), 1);
}

#[parallel(kind = "process", chunks = 3)]
fn doubled(numbers: Vec<u32>) -> Vec<u32> {
    numbers.iter().map(|n| n * 2).collect()
}

#[parallel(kind = "process", chunks = 4, reduce = u64::wrapping_add)]
fn total(range: std::ops::Range<u64>) -> u64 {
    range.sum()
}

#[parallel(kind = "process", chunk_size = 3)]
fn parts(bytes: Vec<u8>) -> Vec<usize> {
    vec![bytes.len()]
}

#[test]
fn chunks_run_in_processes() {
    assert_eq!(doubled((0..10).collect()), (0..10).map(|n| n * 2).collect::<Vec<_>>());
    assert_eq!(total(0..1_000_001), 500_000_500_000);
    assert_eq!(doubled::submit(vec![1, 2, 3]).join().expect("no panic"), [2, 4, 6]);
    assert_eq!(parts::submit(vec![0; 7]).join().expect("no panic"), parts(vec![0; 7]));
}

#[parallel(kind = "process")]
fn fibonacci(n: u64) -> u64 {
    if n < 2 { n } else { fibonacci(n - 1) + fibonacci(n - 2) }
}

#[parallel(kind = "process")]
fn nested(n: u32) -> (u32, u32, u32, bool) {
    let submitted = pid::submit().join().expect("no panic");
    let refused = Pool::process("nested").build().is_err_and(|error| error.to_string().contains("worker process"));
    (submitted, pid(), add::map(zip([n], [1])).sum(), refused)
}

#[test]
fn calls_inside_a_worker_run_in_that_worker() {
    assert_eq!(fibonacci(10), 55);
    let (submitted, direct, sum, refused) = nested(4);
    assert_eq!((submitted, sum, refused), (direct, 5, true));
    assert_ne!(direct, process::id());
}

#[test]
fn process_pools_have_stats_and_can_be_closed() {
    let pool = Pool::process("closing").threads(2).build().expect("a pool");
    assert_eq!(pool.stats().limit, 2);
    assert!(Pool::process("none").threads(0).build().is_err());
    assert!(Pool::process("none").max_tasks_per_worker(0).build().is_err());
    assert!(Pool::io("none").memory_limit(1 << 30).build().is_err());
    let sum: u32 = add::map(zip(0..100, 0..100)).on(&pool).sum();
    assert_eq!(sum, 9_900);
    pool.shutdown(fanfold::Pending::Run);
}

/// A value whose serialization or deserialization panics on request.
#[derive(Debug, Clone, Default)]
struct PanicsOnRequest {
    writes: u32,
    reads: u32,
}

impl Serialize for PanicsOnRequest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert_ne!(self.writes, 1, "writing panics");
        (self.writes.saturating_sub(1), self.reads).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PanicsOnRequest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (writes, reads) = <(u32, u32)>::deserialize(deserializer)?;
        assert_ne!(reads, 1, "reading panics");
        Ok(Self { writes, reads: reads.saturating_sub(1) })
    }
}

#[parallel(kind = "process", pool = ONE)]
fn echo_value(value: PanicsOnRequest) -> PanicsOnRequest {
    value
}

#[test]
fn serde_code_that_panics_fails_its_call_and_keeps_the_worker() {
    let worker = pid_of_one();
    let cases = [(1, 0, "sent", "writing panics"), (0, 1, "arguments could not be read", "reading panics")];
    let cases = cases
        .into_iter()
        .chain([(2, 0, "result could not be sent", "writing panics"), (0, 2, "result", "reading panics")]);
    for (writes, reads, what, why) in cases {
        let value = PanicsOnRequest { writes, reads };
        let tasks: Vec<_> = [PanicsOnRequest::default(), value.clone(), PanicsOnRequest::default()]
            .map(echo_value::submit)
            .into_iter()
            .collect();
        let outcomes: Vec<_> = tasks.into_iter().map(fanfold::Task::join).collect();
        assert!(outcomes[0].is_ok() && outcomes[2].is_ok(), "{outcomes:?}");
        let error = outcomes[1].as_ref().expect_err("it panics").to_string();
        assert!(error.contains(what) && error.contains(why), "{error}");
        assert!(std::panic::catch_unwind(|| echo_value(value.clone())).is_err());
        assert!(std::panic::catch_unwind(|| echo_value::map([value.clone()]).collect::<Vec<_>>()).is_err());
    }
    assert_eq!(pid_of_one(), worker, "no worker is lost");
}

#[test]
#[cfg(target_os = "linux")]
fn many_large_results_may_be_kept() {
    // More results than the processes may have open files, and than they should have mappings.
    let views: Vec<Bytes> =
        echo_bytes::map((0..1_000_u32).map(|n| Bytes::from(n.to_le_bytes().repeat(10_000)))).collect();
    let maps = std::fs::read_to_string("/proc/self/maps").expect("it can be read");
    let mapped =
        maps.lines().filter(|line| ["memfd:fanfold", "/fanfold-shm-"].iter().any(|name| line.contains(name))).count();
    assert!(mapped < 800, "{mapped}");
    for (n, view) in (0_u32..).zip(&views) {
        assert!(view.len() == 40_000 && [&view[..4], &view[39_996..]] == [n.to_le_bytes(); 2]);
    }
}

#[parallel(kind = "process")]
fn join(parts: Vec<Bytes>, ends: Vec<fanfold::Sender<u32>>) -> (usize, Vec<Bytes>) {
    (ends.len(), parts)
}

#[test]
fn one_call_may_have_many_large_parts() {
    let parts: Vec<Bytes> = (0..400_u32).map(|n| Bytes::from(n.to_le_bytes().repeat(9_000))).collect();
    let (end, _receiver) = fanfold::channel();
    let (ends, back) = join(parts.clone(), vec![end.clone(); 100]);
    assert_eq!((ends, back == parts), (100, true));
    let error = join::submit(Vec::new(), vec![end; 300]).join().expect_err("the system has a limit");
    assert!(error.to_string().contains("ends of channels"), "{error}");
}

#[test]
fn a_memory_limit_that_no_worker_fits_in_is_named() {
    let pool = Pool::process("tiny").threads(1).memory_limit(1).build().expect("a pool");
    let panic = std::panic::catch_unwind(|| add::map(zip([1], [2])).on(&pool).sum::<u32>()).expect_err("no worker");
    let message = panic.downcast_ref::<String>().expect("a message");
    assert!(message.contains("memory limit of 1 bytes") && message.contains("refused a thread"), "{message}");
}

#[derive(Serialize, Deserialize)]
struct PanicsOnDrop(u32);

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        assert!(self.0 == 0 || std::thread::panicking() || !is_worker(), "the destructor panics");
    }
}

/// Whether another process of this program started this one as a worker.
fn is_worker() -> bool {
    std::env::var_os("FANFOLD_WORKER_OF").is_some()
}

#[parallel(kind = "process", pool = ONE)]
fn make_panics_on_drop(n: u32) -> PanicsOnDrop {
    PanicsOnDrop(n)
}

#[test]
fn a_result_whose_destructor_panics_is_sent() {
    let worker = pid_of_one();
    let all: Vec<u32> = make_panics_on_drop::map(0..10).collect::<Vec<_>>().iter().map(|result| result.0).collect();
    assert_eq!(all, (0..10).collect::<Vec<_>>());
    assert_eq!(pid_of_one(), worker);
}

#[test]
fn a_panic_in_the_items_iterator_reaches_the_caller() {
    let items = (0..100).inspect(|n| assert!(*n < 50, "no more items"));
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| square::map(items).sum::<u64>()));
    let payload = panic.expect_err("the source panics");
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"no more items"));
}
