//! Frames and scans as tasks: awaited in a runtime of one thread, which goes on meanwhile.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use fanfold::prelude::*;
use fanfold::{OnError, TaskError};
use polars::prelude::*;

fn numbers() -> DataFrame {
    df!("x" => 0..1_000_i64).expect("one column")
}

/// A function of chunks that ends when it gets a message, which another future of the same runtime sends.
fn wait_for(messages: Receiver<()>) -> impl Fn(DataFrame) -> PolarsResult<DataFrame> + Send + Sync {
    let messages = Mutex::new(messages);
    move |chunk| {
        let message = messages.lock().expect("no panic").recv_timeout(Duration::from_secs(30));
        message.map_err(|_| polars_err!(ComputeError: "the runtime did not go on"))?;
        Ok(chunk)
    }
}

#[tokio::test]
async fn the_runtime_goes_on_while_a_frame_is_mapped() {
    let (sender, messages) = mpsc::channel();
    let df = numbers();
    let mapped = df.par_chunks(4).rechunk(true).map_async(wait_for(messages));
    let send = async { (0..4).for_each(|_| sender.send(()).expect("a chunk waits")) };
    let (out, ()) = tokio::join!(mapped, send);
    let out = out.expect("no panic").expect("no chunk fails");
    assert_eq!((out.first_col_n_chunks(), &out), (1, &df));
}

#[tokio::test]
async fn the_runtime_goes_on_while_a_scan_runs() {
    let (sender, messages) = mpsc::channel();
    let scan = numbers().lazy().par_rows(250).map(wait_for(messages)).collect_async();
    let send = async { (0..4).for_each(|_| sender.send(()).expect("a chunk waits")) };
    let (out, ()) = tokio::join!(scan, send);
    assert_eq!(out.expect("no panic").expect("no chunk fails"), numbers());
}

#[tokio::test]
async fn every_end_can_be_awaited() {
    let df = numbers();
    let sum = |chunk: DataFrame| Ok(chunk.column("x")?.i64()?.sum().unwrap_or(0));
    let folded = df.par_chunks(8).submit(move |chunks| chunks.map_reduce(sum, |a, b| a + b)).await;
    assert_eq!(folded.expect("no panic").expect("integers"), 499_500);
    let keys = df!("key" => ["a", "b", "a"]).expect("one column");
    let groups = keys.par_groups(["key"]).submit(|chunks| chunks.map_groups(|group| Ok(group.head(Some(1))))).await;
    assert_eq!(groups.expect("no panic").expect("groups").height(), 2);
    let column = df.column("x").expect("a column").clone();
    let halves = column.as_materialized_series().par_chunks(3).map_async(|part| Ok(part / 2)).await;
    assert_eq!(halves.expect("no panic").expect("a series").len(), 1_000);

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.parquet");
    let output = path.clone();
    let written = df.clone().lazy().par_rows(300).map(Ok).submit(|scan| scan.sink_parquet(output)).await;
    written.expect("no panic").expect("written");
    let skipping = scan_parquet(&path).par_rows(300).map(|chunk| match chunk.height() {
        100 => polars_bail!(ComputeError: "the last one"),
        _ => Ok(chunk),
    });
    let (rows, failed) =
        skipping.submit(|scan| scan.on_error(OnError::Skip).collect()).await.expect("no panic").expect("read");
    assert_eq!((rows.height(), failed.len()), (900, 1));
}

#[tokio::test]
async fn failures_are_those_of_the_end() {
    let df = numbers();
    let failed = df.par_rows(100).map_async(|_| polars_bail!(ComputeError: "no")).await.expect("no panic");
    assert_eq!(failed.expect_err("every chunk fails").to_string(), "chunk 0 (rows 0..100): no");
    let panicked = df.par_rows(100).map_async(|_| panic!("oh")).await.expect("the chunk's error has it");
    assert!(panicked.expect_err("every chunk panics").to_string().contains("oh"));
    let missing = scan_parquet("no/such/file.parquet").map(Ok).collect_async().await.expect("no panic");
    assert!(missing.expect_err("no file").to_string().contains("no/such/file.parquet"));
    // What the closure of `submit` itself panics with is the task's outcome.
    let outcome: Result<(), TaskError> = df.par_rows(100).submit(|_| panic!("outside of the chunks")).await;
    assert!(matches!(outcome, Err(TaskError::Panicked { .. })), "{outcome:?}");
}

#[tokio::test]
async fn progress_is_reported_by_the_task() {
    let df = numbers();
    let rows: &'static AtomicUsize = Box::leak(Box::default());
    let report = |done: usize, _: Option<usize>| rows.store(done, Ordering::Relaxed);
    let refused = catch_unwind(AssertUnwindSafe(|| df.par_rows(100).on_progress(report).map_async(Ok)));
    let message = refused.expect_err("the report may borrow");
    assert!(message.downcast_ref::<&str>().expect("a message").contains("call `on_progress` inside of `submit`"));
    let mapped = df.par_rows(100).submit(move |chunks| chunks.on_progress(report).map(Ok)).await;
    assert_eq!(mapped.expect("no panic").expect("as it was"), df);
    assert_eq!(rows.load(Ordering::Relaxed), 1_000);
    let scanned = df.clone().lazy().par_rows(90).on_progress(report).map(Ok).collect_async().await;
    assert_eq!(scanned.expect("no panic").expect("as it was").height(), 1_000);
}
