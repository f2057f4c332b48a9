//! Direct calls of annotated functions, compared with submitting the same closure to the pool and joining it.

use std::hint::black_box;
use std::time::Duration;

use fanfold::{Pool, parallel};
use fanfold_benches::{Contest, Report};

use crate::Options;

const DIRECT: &str = "direct call";
const BY_HAND: &str = "pool.submit(closure).join()";

#[parallel(kind = "cpu")]
fn on_cpu(a: u64, b: u64) -> u64 {
    black_box(a) ^ b
}

#[parallel(kind = "io")]
fn on_io(a: u64, b: u64) -> u64 {
    black_box(a) ^ b
}

/// Calls from a worker of the same pool, which run in place.
#[parallel(kind = "cpu")]
fn nested(calls: u64) -> u64 {
    (0..calls).map(|n| on_cpu(n, 1)).fold(0, u64::wrapping_add)
}

#[parallel(kind = "cpu")]
fn nested_by_hand(calls: u64) -> u64 {
    (0..calls).map(|n| on_cpu::serial(n, 1)).fold(0, u64::wrapping_add)
}

pub(crate) fn run(_: &Options, report: &mut Report) -> Result<(), String> {
    // Starts the pools' threads before the first contest.
    Pool::cpu_default().submit(|| ()).join().map_err(|error| error.to_string())?;
    Pool::io_default().submit(|| ()).join().map_err(|error| error.to_string())?;
    let contest = |title: &str| Contest::new(title).rounds(9, Duration::from_millis(80));
    let cpu = contest("a call on the cpu pool")
        .with(DIRECT, || on_cpu(1, 2))
        .with(BY_HAND, || Pool::cpu_default().submit(|| on_cpu::serial(1, 2)).join());
    let io = contest("a call on the io pool")
        .with(DIRECT, || on_io(1, 2))
        .with(BY_HAND, || Pool::io_default().submit(|| on_io::serial(1, 2)).join());
    for contest in [cpu, io] {
        if let Some(outcome) = report.run(contest) {
            let figure = outcome.ratio(DIRECT, BY_HAND);
            outcome.bar("direct call against submit and join", figure, 1.0);
        }
    }
    let in_place = contest("10,000 calls from a worker of the same pool, in place")
        .with(DIRECT, || nested(10_000))
        .with("the function bodies only", || nested_by_hand(10_000));
    report.run(in_place);
    Ok(())
}
