//! Hooks inside of worker processes, worker processes that end when they are idle, and pools of processes that are
//! resized.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use fanfold::{BuildError, Pool, TaskError, parallel};

fanfold::process_tests!();

const LONG: Duration = Duration::from_secs(30);

/// How often the start hook has run in this process.
static STARTED: AtomicU32 = AtomicU32::new(0);

/// The file to which the stop hook of a test's workers adds a line: named after the parent, which the workers know.
fn stop_file(test: &str, parent: u32) -> PathBuf {
    std::env::temp_dir().join(format!("fanfold-process-hooks-{test}-{parent}"))
}

/// The parent of a worker, whose id is the first word of the variable that starts workers.
fn parent() -> u32 {
    let variable = std::env::var("FANFOLD_WORKER_OF").expect("this is a worker");
    variable.split(' ').next().and_then(|id| id.parse().ok()).expect("a process id")
}

fn note(test: &str) {
    // Several workers may end at once: each line is one append.
    let file = fs::OpenOptions::new().create(true).append(true).open(stop_file(test, parent()));
    let line = format!("{}\n", process::id());
    file.expect("it can be opened").write_all(line.as_bytes()).expect("it can be written");
}

/// The processes whose stop hooks have run, until there are so many.
fn stopped(test: &str, wanted: usize) -> Vec<u32> {
    let file = stop_file(test, process::id());
    let since = Instant::now();
    loop {
        let ids: Vec<u32> =
            fs::read_to_string(&file).unwrap_or_default().lines().map(|id| id.parse().expect("a number")).collect();
        if ids.len() >= wanted || since.elapsed() > LONG {
            let _ = fs::remove_file(&file);
            return ids;
        }
        std::thread::yield_now();
    }
}

#[parallel(kind = "process")]
fn starts() -> (u32, u32) {
    (process::id(), STARTED.load(Ordering::Relaxed))
}

#[parallel(kind = "process", timeout = "200ms")]
fn hangs() -> Result<(), TaskError> {
    loop {
        std::thread::park();
    }
}

#[test]
fn hooks_run_once_in_each_worker_process() {
    static HOOKED: Pool = Pool::process("hooked")
        .threads(1)
        .max_tasks_per_worker(2)
        .on_process_start(|| {
            STARTED.fetch_add(1, Ordering::Relaxed);
        })
        .on_process_stop(|| note("each"));
    #[parallel(kind = "process", pool = HOOKED)]
    fn starts() -> (u32, u32) {
        (process::id(), STARTED.load(Ordering::Relaxed))
    }
    let calls: Vec<_> = (0..4).map(|_| starts()).collect();
    assert!(calls.iter().all(|(_, starts)| *starts == 1), "{calls:?}");
    assert_eq!(STARTED.load(Ordering::Relaxed), 0, "not in the parent");
    HOOKED.shutdown(fanfold::Pending::Run);
    let ids = stopped("each", 2);
    assert_eq!(ids, [calls[0].0, calls[2].0], "each worker after its two tasks, or when the pool is closed");
}

#[test]
fn a_shutdown_with_a_limit_waits_for_hooks() {
    static LIMITED: Pool = Pool::process("limited").threads(2).on_process_stop(|| {
        // Others could go on meanwhile.
        (0..1_000).for_each(|_| std::thread::yield_now());
        note("limited");
    });
    #[parallel(kind = "process", pool = LIMITED)]
    fn pid() -> u32 {
        process::id()
    }
    let mut ids: Vec<u32> = fanfold::join_all((0..20).map(|_| pid::submit())).expect("all return");
    ids.sort_unstable();
    ids.dedup();
    assert!(LIMITED.shutdown(LONG));
    let notes = fs::read_to_string(stop_file("limited", process::id())).expect("the hooks have run");
    let mut noted = stopped("limited", ids.len());
    noted.sort_unstable();
    // A worker that had no call may have started, too.
    assert!(ids.iter().all(|id| noted.contains(id)));
    assert_eq!(notes.lines().count(), noted.len(), "all had run when the pool was shut down");
}

#[test]
fn a_killed_worker_does_not_run_its_stop_hook() {
    static KILLED: Pool = Pool::process("killed").threads(1).on_process_stop(|| note("killed"));
    #[parallel(kind = "process", pool = KILLED, timeout = "200ms")]
    fn hangs() -> Result<u32, TaskError> {
        loop {
            std::thread::park();
        }
    }
    #[parallel(kind = "process", pool = KILLED)]
    fn pid() -> u32 {
        process::id()
    }
    let first = pid();
    assert!(matches!(hangs(), Err(TaskError::TimedOut { .. })));
    let second = pid();
    assert_ne!(first, second);
    KILLED.shutdown(fanfold::Pending::Run);
    assert_eq!(stopped("killed", 1), [second]);
}

#[test]
fn hooks_that_panic_leave_a_worker_that_works() {
    static PANICS: Pool = Pool::process("panics")
        .threads(1)
        .on_process_start(|| panic!("the start hook"))
        .on_process_stop(|| panic!("the stop hook"));
    #[parallel(kind = "process", pool = PANICS)]
    fn add(a: u32, b: u32) -> u32 {
        a + b
    }
    assert_eq!((add(1, 2), add(3, 4)), (3, 7));
    PANICS.shutdown(fanfold::Pending::Run);
}

#[test]
fn process_hooks_are_for_processes() {
    let refused = Pool::io("threads").on_process_stop(|| ()).build().expect_err("it has no processes");
    assert!(matches!(refused, BuildError::BadProcessHook(_)));
    assert!(refused.to_string().contains("`on_start` and `on_stop` for threads"), "{refused}");
    // The default pool has none, and works.
    assert_eq!(starts().1, 0);
    assert!(hangs().is_err());
}

#[test]
fn an_idle_worker_process_ends_and_another_one_starts() {
    static BURSTS: Pool =
        Pool::process("bursts").threads(2).idle_timeout(Duration::from_millis(30)).on_process_stop(|| note("idle"));
    #[parallel(kind = "process", pool = BURSTS)]
    fn pid() -> u32 {
        process::id()
    }
    let first = pid();
    assert_eq!(stopped("idle", 1), [first], "it ends without a further call");
    let second = pid();
    assert_ne!(second, first);
    assert_eq!(stopped("idle", 1), [second]);
    BURSTS.shutdown(fanfold::Pending::Run);
}

#[test]
fn a_pool_of_processes_grows_and_shrinks() {
    static RESIZED: Pool = Pool::process("resized").threads(1).on_process_stop(|| note("resized"));
    #[parallel(kind = "process", pool = RESIZED)]
    fn meet(place: String, wanted: usize) -> (u32, bool) {
        fs::write(PathBuf::from(&place).join(process::id().to_string()), "").expect("it can be written");
        let since = Instant::now();
        let here = || fs::read_dir(&place).map_or(0, Iterator::count);
        while here() < wanted && since.elapsed() < LONG {
            std::thread::yield_now();
        }
        (process::id(), here() >= wanted)
    }
    let place = tempfile::tempdir().expect("there is room");
    let path = place.path().to_str().expect("a plain path").to_owned();
    let tasks: Vec<_> = (0..3).map(|_| meet::submit(path.clone(), 3)).collect();
    RESIZED.resize(3).expect("3 is a size");
    let met = fanfold::join_all(tasks).expect("all return");
    assert!(met.iter().all(|(_, met)| *met), "three processes run at once: {met:?}");
    RESIZED.resize(1).expect("1 is a size");
    let ended = stopped("resized", 2);
    assert_eq!(ended.len(), 2, "idle workers beyond the size end");
    let (last, _) = meet(path, 0);
    assert!(!ended.contains(&last) && met.iter().any(|(id, _)| *id == last), "the other one stays");
    RESIZED.shutdown(fanfold::Pending::Run);
    stopped("resized", 1);
}
