//! Fanfold inside Fanfold: queries and closures that use it, run by scans and frame chunks. Nothing hangs.
//!
//! The numbers of workers are set in processes of their own: this program runs itself to execute one test.
#![allow(clippy::needless_pass_by_value, reason = "steps of a query get their rows by value")]
#![allow(clippy::redundant_closure_for_method_calls, reason = "the type of a result has no short name")]
#![allow(clippy::type_complexity, reason = "a table of functions")]

use std::process::Command;
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use fanfold::prelude::*;
use fanfold::{Pool, parallel};
use polars::prelude::*;

/// Longer than any slow machine needs; reaching it means that the test hangs.
const TIME_LIMIT: Duration = Duration::from_secs(60);

#[parallel(kind = "cpu", chunks = 2)]
fn by_cpu_chunks(df: DataFrame) -> DataFrame {
    df
}

#[parallel(kind = "io")]
fn by_io(df: DataFrame) -> PolarsResult<DataFrame> {
    by_chunks(df)
}

fn by_chunks(df: DataFrame) -> PolarsResult<DataFrame> {
    Ok(df.par_chunks(2).map(Ok)?)
}

fn in_memory(df: DataFrame) -> PolarsResult<DataFrame> {
    df.lazy().map(by_chunks, AllowedOptimizations::default(), None, None).collect()
}

fn streaming(df: DataFrame) -> PolarsResult<DataFrame> {
    let query = df.lazy().map(by_chunks, AllowedOptimizations::default() | OptFlags::STREAMING, None, None);
    query.collect_with_engine(Engine::Streaming).map(|result| result.unwrap_single())
}

fn by_scan(df: DataFrame) -> PolarsResult<DataFrame> {
    Ok(df.lazy().par_rows(1).map(Ok).collect()?)
}

fn by_scan_of_a_query(df: DataFrame) -> PolarsResult<DataFrame> {
    Ok(df.lazy().map(by_chunks, AllowedOptimizations::default(), None, None).par_rows(1).map(by_chunks).collect()?)
}

fn by_a_pool_of_one(df: DataFrame) -> PolarsResult<DataFrame> {
    let pool = Pool::cpu("nested").threads(1).build().expect("a thread starts");
    let first = df.par_chunks(2).on(&pool).map(Ok)?;
    pool.submit(move || by_chunks(first)).join().expect("it does not panic")
}

fn by_a_thread(df: DataFrame) -> PolarsResult<DataFrame> {
    thread::spawn(move || by_chunks(df)).join().expect("it does not panic")
}

fn by_scoped_threads(df: DataFrame) -> PolarsResult<DataFrame> {
    thread::scope(|s| {
        let others = [s.spawn(|| by_chunks(df.clone())), s.spawn(|| by_chunks(df.clone()))];
        others.map(|other| other.join().expect("it does not panic")).into_iter().last().expect("there are two")
    })
}

/// Nested threads, each of which waits for chunks that only another worker can run.
fn by_threads_in_threads(df: DataFrame) -> PolarsResult<DataFrame> {
    let deeper = |df: DataFrame| thread::scope(|s| s.spawn(|| by_a_thread(df)).join().expect("it does not panic"));
    thread::scope(|s| s.spawn(|| Ok(df.par_chunks(2).map(deeper)?)).join().expect("it does not panic"))
}

/// Splits frames on a worker of another pool, and waits for it on a channel, which that pool does not see.
fn by_an_io_thread(df: DataFrame) -> PolarsResult<DataFrame> {
    let (sender, done) = mpsc::channel();
    let _task = Pool::io_default().submit(move || sender.send(by_chunks(df)));
    done.recv().expect("it does not panic")
}

fn by_rayon_scope(df: DataFrame) -> PolarsResult<DataFrame> {
    let (sender, done) = mpsc::channel();
    rayon::scope(|s| {
        for _ in 0..3 {
            s.spawn(|_| sender.send(by_chunks(df.clone())).expect("it is received"));
        }
    });
    done.recv().expect("three were sent")
}

static STREAMED: Pool = Pool::cpu("streamed").threads(1);

fn by_the_pool_of_one(df: DataFrame) -> PolarsResult<DataFrame> {
    Ok(df.par_chunks(2).on(&STREAMED).map(Ok)?)
}

fn streaming_on_the_pool_of_one(df: DataFrame) -> PolarsResult<DataFrame> {
    let query = df.lazy().map(by_the_pool_of_one, AllowedOptimizations::default() | OptFlags::STREAMING, None, None);
    query.collect_with_engine(Engine::Streaming).map(|result| result.unwrap_single())
}

/// The only worker of the pool waits for threads of Polars' engine, which are not workers of the pool.
fn a_query_on_the_pool_of_one(df: DataFrame) -> PolarsResult<DataFrame> {
    Ok(df.par_chunks(2).on(&STREAMED).map(streaming_on_the_pool_of_one)?)
}

fn by_rayon(df: DataFrame) -> PolarsResult<DataFrame> {
    rayon::join(|| by_chunks(df.clone()), || by_chunks(df.clone())).0
}

type Step = fn(DataFrame) -> PolarsResult<DataFrame>;

const INNER: &[(&str, Step)] = &[
    ("chunks", by_chunks),
    ("a cpu function", |df| Ok(by_cpu_chunks(df))),
    ("a submitted cpu function", |df| Ok(by_cpu_chunks::submit(df).join().expect("it does not panic"))),
    ("an io function", |df| by_io::submit(df).join().expect("it does not panic")),
    ("an io function, called", by_io),
    ("a query in memory", in_memory),
    ("a streaming query", streaming),
    ("a scan", by_scan),
    ("a scan of a query", by_scan_of_a_query),
    ("a pool of one", by_a_pool_of_one),
    ("a thread", by_a_thread),
    ("threads in a scope", by_scoped_threads),
    ("threads in threads", by_threads_in_threads),
    ("an io function's thread", by_an_io_thread),
    ("rayon", by_rayon),
    ("a rayon scope", by_rayon_scope),
    ("a streaming query on a pool of one", a_query_on_the_pool_of_one),
];

fn mapped(step: Step, flags: OptFlags) -> LazyFrame {
    df!("x" => [1, 2, 3]).expect("one column").lazy().map(step, AllowedOptimizations::default() | flags, None, None)
}

const OUTER: &[(&str, fn(Step) -> PolarsResult<DataFrame>)] = &[
    ("a query in memory", |step| mapped(step, OptFlags::empty()).collect()),
    ("a query, streamed", |step| {
        mapped(step, OptFlags::empty()).collect_with_engine(Engine::Streaming).map(|result| result.unwrap_single())
    }),
    ("a streaming query", |step| {
        mapped(step, OptFlags::STREAMING).collect_with_engine(Engine::Streaming).map(|result| result.unwrap_single())
    }),
    ("a query that is scanned", |step| Ok(mapped(step, OptFlags::empty()).par_rows(1).map(Ok).collect()?)),
    ("a streaming query that is scanned", |step| {
        Ok(mapped(step, OptFlags::STREAMING).par_rows(1).map(Ok).collect()?)
    }),
    ("a query whose scan uses it too", |step| {
        Ok(mapped(by_chunks, OptFlags::empty()).par_rows(1).map(step).collect()?)
    }),
    ("a scan", |step| Ok(df!("x" => [1, 2, 3])?.lazy().par_rows(1).map(step).collect()?)),
    ("chunks", |step| Ok(df!("x" => [1, 2, 3])?.par_chunks(3).map(step)?)),
];

fn try_all_nestings() {
    for &(outer, run) in OUTER {
        for &(inner, step) in INNER {
            let (sender, done) = mpsc::channel();
            thread::spawn(move || sender.send(run(step)));
            let result = done.recv_timeout(TIME_LIMIT).unwrap_or_else(|_| panic!("{inner} inside {outer} hangs"));
            let result = result.unwrap_or_else(|error| panic!("{inner} inside {outer}: {error}"));
            assert_eq!(result, df!("x" => [1, 2, 3]).expect("one column"), "{inner} inside {outer}");
        }
    }
}

/// Runs the test of this name in a process with these numbers of workers and Polars threads, to try all pairs.
#[track_caller]
fn in_a_process_with(workers: &str, polars: &str, test: &str) {
    const CHILD: &str = "FANFOLD_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        return try_all_nestings();
    }
    let output = Command::new(std::env::current_exe().expect("this program has a path"))
        .args([&format!("scan_nested::{test}"), "--exact", "--nocapture"])
        .env(CHILD, "1")
        .env("FANFOLD_CPU_THREADS", workers)
        .env("POLARS_MAX_THREADS", polars)
        .output()
        .expect("this program starts again");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// A worker that has waited for a task needs its permit back. Another worker holds the permit while it waits for a
/// thread, which in turn waits for the first worker.
#[test]
fn a_worker_gets_its_permit_back_while_the_holder_waits() {
    static ONE: Pool = Pool::cpu("one").threads(1);
    let outer = |df: DataFrame| {
        let (begun, go) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let (inner_begun, inner_go, inner) = (Arc::clone(&begun), Arc::clone(&go), df.clone());
        let waits = move |df: DataFrame| {
            inner_begun.wait();
            let go = Arc::clone(&inner_go);
            Pool::io_default().submit(move || go.wait()).join().expect("it does not panic");
            Ok(df)
        };
        let thread = thread::spawn(move || inner.par_chunks(1).on(&ONE).map(waits));
        // Another worker holds this worker's permit meanwhile, and releases it to wait itself.
        Pool::io_default().submit(move || begun.wait()).join().expect("it does not panic");
        go.wait();
        Ok(thread.join().expect("it does not panic")?)
    };
    let (sender, done) = mpsc::channel();
    let df = df!("x" => [1, 2, 3]).expect("one column");
    let whole = df.clone();
    thread::spawn(move || sender.send(whole.par_chunks(1).on(&ONE).map(outer)));
    assert_eq!(done.recv_timeout(TIME_LIMIT).expect("it hangs").expect("no error"), df);
}

#[test]
fn every_nesting_ends_with_one_worker() {
    in_a_process_with("1", "2", "every_nesting_ends_with_one_worker");
}

#[test]
fn every_nesting_ends_with_two_workers() {
    in_a_process_with("2", "2", "every_nesting_ends_with_two_workers");
}

#[test]
fn every_nesting_ends_with_one_polars_thread() {
    in_a_process_with("1", "1", "every_nesting_ends_with_one_polars_thread");
}
