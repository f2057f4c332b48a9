//! Environment variables and `configure`. Each case is a process of its own: this program runs itself to execute one
//! test with other variables.

use std::process::Command;
use std::thread;

use fanfold::{ConfigureError, Pool, configure, parallel, scope};

/// Runs one of the ignored tests below in a process with these variables.
fn run_in_child(test: &str, variables: &[(&str, &str)]) -> (bool, String) {
    let program = std::env::current_exe().expect("this program has a path");
    let output = Command::new(program)
        .args([test, "--exact", "--ignored", "--nocapture"])
        .env_remove("FANFOLD_CPU_THREADS")
        .env_remove("FANFOLD_IO_THREADS")
        .env_remove("FANFOLD_SERIAL")
        .envs(variables.iter().copied())
        .output()
        .expect("this program starts again");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("running 1 test"), "there is no test `{test}`: {text}");
    (output.status.success(), text.into_owned())
}

#[track_caller]
fn passes(test: &str, variables: &[(&str, &str)]) {
    let (success, text) = run_in_child(test, variables);
    assert!(success, "{text}");
}

#[parallel(kind = "cpu")]
fn worker_thread(_n: u32) -> thread::ThreadId {
    thread::current().id()
}

#[parallel(kind = "io", timeout = "1h", retries = 1)]
fn worker_thread_within_a_limit(_n: u32) -> Result<thread::ThreadId, fanfold::TaskError> {
    Ok(thread::current().id())
}

#[parallel(kind = "io", timeout = "1ms")]
fn runs_until_cancelled() -> Result<thread::ThreadId, fanfold::TaskError> {
    while !fanfold::cancelled() {
        thread::yield_now();
    }
    Ok(thread::current().id())
}

fn refuse() -> Result<u8, &'static str> {
    Err("no database")
}

#[parallel(kind = "io", init = refuse)]
fn refused(#[worker] _state: &mut u8) {}

#[test]
fn a_direct_call_panics_with_the_initializers_error() {
    for serial in ["0", "1"] {
        let (success, text) = run_in_child("child_cannot_start", &[("FANFOLD_SERIAL", serial)]);
        assert!(success && text.contains("its initializer failed: no database"), "{text}");
    }
}

#[test]
#[ignore = "run by `a_direct_call_panics_with_the_initializers_error`, whose output it checks"]
fn child_cannot_start() {
    let payload = std::panic::catch_unwind(refused).expect_err("it cannot");
    assert!(payload.is::<String>());
}

#[test]
fn fanfold_serial_runs_everything_on_the_caller() {
    passes("child_serial", &[("FANFOLD_SERIAL", "1")]);
    let (success, _) = run_in_child("child_serial", &[("FANFOLD_SERIAL", "0")]);
    assert!(!success, "without it workers do the work");
    let (success, text) = run_in_child("child_serial", &[("FANFOLD_SERIAL", "maybe")]);
    assert!(!success && text.contains("FANFOLD_SERIAL is `maybe`: set it to 1 or 0"), "{text}");
}

#[test]
#[ignore = "run by `fanfold_serial_runs_everything_on_the_caller`, with its variables"]
fn child_serial() {
    let own = thread::current().id();
    assert_eq!(worker_thread(0), own);
    let task = worker_thread::submit(0);
    assert!(task.is_finished());
    assert_eq!(task.join().expect("no panic"), own);
    assert!(worker_thread::map(0..100).collect::<Vec<_>>().iter().all(|id| *id == own));
    assert!(worker_thread::map(0..100).into_iter().all(|id| id == own));
    assert_eq!(worker_thread_within_a_limit(0).expect("in time"), own);
    assert!(worker_thread_within_a_limit::map(0..10).into_iter().flatten().all(|id| id == own));
    assert_eq!(runs_until_cancelled().expect("the caller cannot leave"), own);
    assert_eq!(scope(|s| s.submit(|| thread::current().id()).join().expect("no panic")), own);
    let closed = Pool::io("closed").threads(1).build().expect("a thread starts");
    closed.shutdown(fanfold::Pending::Run);
    assert!(matches!(closed.submit(|| 1).join(), Err(fanfold::TaskError::PoolClosed)));
    #[cfg(feature = "polars")]
    {
        use fanfold::prelude::*;
        use polars::prelude::*;
        let df = df!("x" => 0..10_i32).expect("one column");
        let out = df.par_chunks(4).map(|chunk| {
            assert_eq!(thread::current().id(), own);
            Ok(chunk)
        });
        assert_eq!(out.expect("no chunk fails"), df);
    }
}

#[test]
fn environment_variables_set_the_pool_sizes() {
    passes("child_sizes", &[("FANFOLD_CPU_THREADS", "3"), ("FANFOLD_IO_THREADS", "5")]);
    passes("child_sizes_unset", &[("FANFOLD_IO_THREADS", ""), ("FANFOLD_SERIAL", "")]);
    for bad in ["0", "-1", "many", " "] {
        let (success, text) = run_in_child("child_sizes", &[("FANFOLD_CPU_THREADS", bad)]);
        let wanted = format!("FANFOLD_CPU_THREADS is `{bad}`, which is not a positive integer");
        assert!(!success && text.contains(&wanted), "{text}");
    }
}

#[test]
#[ignore = "run by `environment_variables_set_the_pool_sizes`, with its variables"]
fn child_sizes_unset() {
    assert_eq!(Pool::io_default().stats().limit, 256, "nothing is as good as unset");
    assert_ne!(worker_thread(0), thread::current().id());
}

#[test]
#[ignore = "run by `environment_variables_set_the_pool_sizes`, with its variables"]
fn child_sizes() {
    assert_eq!(Pool::cpu_default().stats().limit, 3);
    assert_eq!(Pool::io_default().stats().limit, 5);
    assert_eq!(configure().cpu_threads(2).apply(), Err(ConfigureError::Started { pool: "cpu" }));
}

#[test]
fn configure_overrides_the_environment_and_must_precede_first_use() {
    passes("child_configures", &[("FANFOLD_CPU_THREADS", "nonsense"), ("FANFOLD_IO_THREADS", "5")]);
}

#[test]
#[ignore = "run by `configure_overrides_the_environment_and_must_precede_first_use`, with its variables"]
fn child_configures() {
    assert_eq!(configure().cpu_threads(0).apply(), Err(ConfigureError::NoThreads { pool: "cpu" }));
    // An invalid value leaves all values unset.
    assert_eq!(configure().cpu_threads(7).io_threads(0).apply(), Err(ConfigureError::NoThreads { pool: "io" }));
    // A number that the pool would refuse at its first use. It leaves all values unset, too.
    let error = configure().io_threads(8).cpu_threads(1_000_000).apply().expect_err("they are too many");
    assert!(matches!(error, ConfigureError::TooManyThreads { pool: "cpu", threads: 1_000_000, .. }), "{error:?}");
    assert_eq!(configure().cpu_threads(4).apply(), Ok(()));
    assert_eq!(configure().cpu_threads(2).apply(), Ok(()), "it may be said again, before the first use");
    let own = Pool::cpu("own").build().expect("threads start");
    assert_eq!(own.stats().limit, 2, "an own pool that does not say its size has the default one's");
    assert_eq!(configure().cpu_threads(2).apply(), Ok(()), "an own pool is not the default one");
    assert_eq!(Pool::cpu_default().stats().limit, 2);
    let error = configure().cpu_threads(3).apply().expect_err("it has started");
    assert!(error.to_string().contains("before the first use"), "{error}");
    assert_eq!(configure().io_threads(6).apply(), Ok(()), "this one has not");
    assert_eq!(Pool::io_default().stats().limit, 6);
}
