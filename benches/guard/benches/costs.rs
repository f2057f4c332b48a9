//! Instruction counts of every kind of call, with limits.
//!
//! Times need an idle machine; instruction counts do not. Only the work of a single thread is counted: tasks that are
//! queued, claimed, cancelled or split, and maps too short to be shared. A limit is a tenth above the count at the time
//! when it was set.
//!
//! `benches/guard/run` installs the requirements and runs the benchmarks.
#![allow(missing_docs, reason = "the harness generates public items from these functions")]

use std::hint::black_box;
use std::sync::mpsc;
use std::time::Duration;

use fanfold::{Pool, Task, as_completed, parallel};
use gungraun::prelude::*;
use gungraun::{Callgrind, EntryPoint, EventKind, LibraryBenchmarkConfig};

/// A pool of one thread, so that no other thread runs its tasks.
static ONE: Pool = Pool::io("one").threads(1);

#[parallel(kind = "cpu")]
fn double(x: u64) -> u64 {
    x.wrapping_mul(2)
}

#[parallel(kind = "cpu")]
fn checked(x: u64) -> Result<u64, String> {
    x.checked_mul(2).ok_or_else(|| "too large".to_owned())
}

#[parallel(kind = "cpu")]
fn scaled(x: f32) -> f32 {
    x * 2.0 + 1.0
}

#[parallel(kind = "cpu", chunks = 8)]
fn doubled(#[chunk] xs: Vec<u64>) -> Vec<u64> {
    xs.into_iter().map(|x| x.wrapping_mul(2)).collect()
}

#[parallel(kind = "io", pool = ONE)]
fn echo(x: u64) -> u64 {
    x
}

#[parallel(kind = "io", pool = ONE)]
fn hold(entered: mpsc::Sender<()>, release: mpsc::Receiver<()>) {
    entered.send(()).expect("the benchmark waits");
    // Ends when the sender is dropped.
    release.recv().unwrap_err();
}

#[parallel(kind = "io", pool = ONE)]
fn on_worker(what: fn(u64) -> u64, times: u64) -> u64 {
    what(times)
}

/// Limits a case to a tenth more than the counted instructions.
fn counted(instructions: u64) -> LibraryBenchmarkConfig {
    limited(Callgrind::default(), instructions)
}

/// As [`counted`], counting only inside a function that a worker runs.
fn counted_in(function: &str, instructions: u64) -> LibraryBenchmarkConfig {
    let mut tool = Callgrind::default();
    tool.entry_point(EntryPoint::Custom(function.to_owned()));
    limited(tool, instructions)
}

fn limited(mut tool: Callgrind, instructions: u64) -> LibraryBenchmarkConfig {
    tool.hard_limits([(EventKind::Ir, instructions + instructions / 10)]);
    let mut config = LibraryBenchmarkConfig::default();
    config.env("FANFOLD_CPU_THREADS", "1").tool(tool);
    config
}

/// Starts the pools, and initializes clocks and tables.
fn warm(items: u64) -> u64 {
    double::map(0..4).sum::<u64>();
    echo(0);
    items
}

fn floats(items: u64) -> Vec<f32> {
    (0..warm(items)).map(|x| f32::from(x.to_le_bytes()[0])).collect()
}

/// Occupies the pool's only thread until the returned sender is dropped.
fn occupied(tasks: u64) -> (u64, mpsc::Sender<()>) {
    let (entered, wait) = mpsc::channel();
    let (release, occupied) = mpsc::channel();
    drop(hold::submit(entered, occupied));
    wait.recv().expect("the task starts");
    (warm_queue(tasks), release)
}

/// Makes the queue allocate its memory.
fn warm_queue(tasks: u64) -> u64 {
    drop(queue_up(tasks));
    tasks
}

fn queue_up(tasks: u64) -> Vec<Task<u64>> {
    (0..tasks).map(echo::submit).collect()
}

fn queued(tasks: u64) -> (Vec<Task<u64>>, mpsc::Sender<()>) {
    let (tasks, release) = occupied(tasks);
    (queue_up(tasks), release)
}

fn finished(tasks: u64) -> Vec<Task<u64>> {
    let tasks = queue_up(warm(tasks));
    for task in &tasks {
        assert!(task.wait(Duration::MAX));
    }
    tasks
}

#[library_benchmark]
#[bench::one(args = (1), setup = warm, config = counted(801))]
#[bench::few(args = (16), setup = warm, config = counted(901))]
#[bench::many(args = (100_000), setup = warm, config = counted(326_400))]
fn map_alone(items: u64) -> Vec<u64> {
    black_box(double::map(0..black_box(items)).collect())
}

// A loop that is not vectorized takes three times as many instructions.
#[library_benchmark]
#[bench::floats(args = (100_000), setup = floats, config = counted(138_700))]
fn map_vectorized(items: Vec<f32>) -> Vec<f32> {
    black_box(scaled::map(black_box(&items)).collect())
}

// The map reads the clock, more often on a slow machine: it takes 3,070 to some 6,000 instructions, and the limit is
// for the upper end.
#[library_benchmark]
#[bench::few(args = (16), setup = warm, config = counted(6_000).env("FANFOLD_CPU_THREADS", "2"))]
fn map_probed(items: u64) -> Vec<u64> {
    black_box(double::map(0..black_box(items)).collect())
}

#[library_benchmark]
#[bench::many(args = (100_000), setup = warm, config = counted(1_101_500))]
fn map_of_results(items: u64) -> Result<Vec<u64>, String> {
    black_box(checked::map(0..black_box(items)).collect())
}

#[library_benchmark]
#[bench::many(args = (100_000), setup = warm, config = counted(32_700))]
fn map_summed(items: u64) -> u64 {
    black_box(double::map(0..black_box(items)).sum())
}

// Half or all of the loop of `doubled` is vectorised, which unrelated code decides: 53,800 or 66,300.
#[library_benchmark]
#[bench::eight(args = (8_000), setup = warm, config = counted(62_700))]
fn cut_and_gather(items: u64) -> Vec<u64> {
    black_box(doubled((0..black_box(items)).collect()))
}

#[library_benchmark]
#[bench::thousand(args = (1_000), setup = occupied, config = counted(511_000))]
fn submit((tasks, release): (u64, mpsc::Sender<()>)) -> (Vec<Task<u64>>, mpsc::Sender<()>) {
    black_box((queue_up(tasks), release))
}

#[library_benchmark]
#[bench::thousand(args = (1_000), setup = queued, config = counted(314_400))]
fn cancel((tasks, release): (Vec<Task<u64>>, mpsc::Sender<()>)) -> mpsc::Sender<()> {
    for task in &tasks {
        assert!(task.cancel());
    }
    drop(tasks);
    black_box(release)
}

#[library_benchmark]
#[bench::thousand(args = (1_000), setup = finished, config = counted(657_700))]
fn take_as_completed(tasks: Vec<Task<u64>>) -> usize {
    black_box(as_completed(tasks).count())
}

#[inline(never)]
fn submit_and_join_on_a_worker(times: u64) -> u64 {
    (0..times).map(|x| echo::submit(x).join().unwrap_or_default()).sum()
}

#[library_benchmark]
#[bench::thousand(args = (1_000), setup = warm, config = counted_in("*::submit_and_join_on_a_worker", 754_500))]
fn claim(times: u64) -> u64 {
    black_box(on_worker(submit_and_join_on_a_worker, times))
}

#[inline(never)]
fn call_on_a_worker(times: u64) -> u64 {
    (0..times).map(|x| echo(black_box(x))).sum()
}

#[library_benchmark]
#[bench::thousand(args = (1_000), setup = warm, config = counted_in("*::call_on_a_worker", 64_000))]
fn call_in_place(times: u64) -> u64 {
    black_box(on_worker(call_on_a_worker, times))
}

library_benchmark_group!(
    name = maps,
    benchmarks = [map_alone, map_vectorized, map_probed, map_of_results, map_summed, cut_and_gather]
);
library_benchmark_group!(name = tasks, benchmarks = [submit, cancel, take_as_completed, claim, call_in_place]);

main!(library_benchmark_groups = [maps, tasks]);
