//! Instruction counts of what every call costs, held to limits.
//!
//! Times need a quiet machine; instructions do not. Only what one thread does alone is counted: work that is queued,
//! claimed, cancelled, cut, or too short to be shared. A limit is a tenth above what was counted when it was set.
//!
//! `benches/guard/run` installs what this needs and runs it.
#![allow(missing_docs, reason = "the harness makes public items of these functions")]

use std::hint::black_box;
use std::sync::mpsc;
use std::time::Duration;

use fanfold::{Pool, Task, as_completed, parallel};
use gungraun::prelude::*;
use gungraun::{Callgrind, EntryPoint, EventKind, LibraryBenchmarkConfig};

/// One thread, so that nobody else is there to run anything.
static LANE: Pool = Pool::io("lane").threads(1);

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

#[parallel(kind = "io", pool = LANE)]
fn echo(x: u64) -> u64 {
    x
}

#[parallel(kind = "io", pool = LANE)]
fn hold(entered: mpsc::Sender<()>, release: mpsc::Receiver<()>) {
    entered.send(()).expect("somebody waits");
    // Ends when the other side is dropped.
    release.recv().unwrap_err();
}

#[parallel(kind = "io", pool = LANE)]
fn on_worker(what: fn(u64) -> u64, times: u64) -> u64 {
    what(times)
}

/// The instructions that a case may take: a tenth more than were counted.
fn counted(instructions: u64) -> LibraryBenchmarkConfig {
    limited(Callgrind::default(), instructions)
}

/// The same, counted inside a function that a worker runs.
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

/// The pools have started, and clocks and tables are ready.
fn warm(items: u64) -> u64 {
    double::map(0..4).sum::<u64>();
    echo(0);
    items
}

fn floats(items: u64) -> Vec<f32> {
    (0..warm(items)).map(|x| f32::from(x.to_le_bytes()[0])).collect()
}

/// A pool whose one thread is held, and the end that holds it.
fn held(tasks: u64) -> (u64, mpsc::Sender<()>) {
    let (entered, wait) = mpsc::channel();
    let (release, held) = mpsc::channel();
    drop(hold::submit(entered, held));
    wait.recv().expect("the task starts");
    (warm_queue(tasks), release)
}

/// The queue has its memory.
fn warm_queue(tasks: u64) -> u64 {
    drop(queue_up(tasks));
    tasks
}

fn queue_up(tasks: u64) -> Vec<Task<u64>> {
    (0..tasks).map(echo::submit).collect()
}

fn queued(tasks: u64) -> (Vec<Task<u64>>, mpsc::Sender<()>) {
    let (tasks, release) = held(tasks);
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
#[bench::one(args = (1), setup = warm, config = counted(800))]
#[bench::few(args = (16), setup = warm, config = counted(900))]
#[bench::many(args = (100_000), setup = warm, config = counted(326_400))]
fn map_alone(items: u64) -> Vec<u64> {
    black_box(double::map(0..black_box(items)).collect())
}

// A loop that the compiler no longer vectorizes takes three times as many.
#[library_benchmark]
#[bench::floats(args = (100_000), setup = floats, config = counted(138_700))]
fn map_vectorized(items: Vec<f32>) -> Vec<f32> {
    black_box(scaled::map(black_box(&items)).collect())
}

// It looks at the clock, so it takes more looks where the machine is slow: 3,070 to some 6,000, of which this is the end.
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

#[library_benchmark]
#[bench::eight(args = (8_000), setup = warm, config = counted(52_000))]
fn cut_and_gather(items: u64) -> Vec<u64> {
    black_box(doubled((0..black_box(items)).collect()))
}

#[library_benchmark]
#[bench::thousand(args = (1_000), setup = held, config = counted(511_000))]
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
