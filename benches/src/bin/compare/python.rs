//! Workloads of tutorials on Python's pools, in Python and with Fanfold.

use std::hint::black_box;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use fanfold::prelude::*;
use fanfold::{Pool, join_all};
use fanfold_benches::{Contest, FANFOLD, Report};
use polars::prelude::*;
use serde::Deserialize;

use crate::Options;
use crate::peers::Python;

const LOOP: &str = "a loop";
/// Workers are processes, like those of Python's process pools.
const PROCESSES: &str = "fanfold, processes";
const CANDIDATES: [u64; 6] = [
    112_272_535_095_293,
    112_582_705_942_171,
    112_272_535_095_293,
    115_280_095_190_773,
    115_797_848_077_099,
    1_099_726_899_285_419,
];
const SLEEPERS: usize = 200;
const CHUNKS: usize = 4;

static SLEEPING: Pool = Pool::io("sleeping").threads(SLEEPERS);

#[parallel(kind = "cpu")]
fn is_prime(n: u64) -> bool {
    if n < 2 || n.is_multiple_of(2) {
        return n == 2;
    }
    (3..=n.isqrt()).step_by(2).all(|divisor| !n.is_multiple_of(divisor))
}

#[parallel(kind = "process")]
fn is_prime_in_process(n: u64) -> bool {
    is_prime::serial(n)
}

#[parallel(kind = "cpu", chunks = 2, reduce = std::ops::Add::add)]
fn range_sum(numbers: Range<u64>) -> u64 {
    // `black_box` forces every addition, as in Python.
    numbers.fold(0, |sum, n| black_box(sum + n))
}

#[parallel(kind = "cpu")]
fn square(n: u64) -> u64 {
    n * n
}

#[parallel(kind = "process")]
fn square_in_process(n: u64) -> u64 {
    n * n
}

#[parallel(kind = "io", pool = SLEEPING)]
fn sleep(_: usize) {
    thread::sleep(Duration::from_millis(50));
}

pub(crate) fn run(_: &Options, report: &mut Report) -> Result<(), String> {
    functions(report, &Python::script("functions.py"));
    frames(report, &Python::script("frames.py")).map_err(|error| error.to_string())
}

fn functions(report: &mut Report, python: &Python) {
    let primes = Contest::new("primality of six numbers")
        .rounds(3, Duration::from_millis(300))
        .with(FANFOLD, || is_prime::map(CANDIDATES).collect::<Vec<_>>())
        .with(PROCESSES, || is_prime_in_process::map(CANDIDATES).collect::<Vec<_>>())
        .with(LOOP, || CANDIDATES.map(is_prime::serial));
    run_with_peers(report, python, "primes", primes);
    let sums = Contest::new("the sum of 10,000,000 numbers in two chunks")
        .rounds(3, Duration::from_millis(300))
        .with(FANFOLD, || range_sum(0..10_000_000))
        .with(LOOP, || range_sum::serial(0..10_000_000));
    run_with_peers(report, python, "range sum", sums);
    let squares = Contest::new("100,000 squares")
        .rounds(5, Duration::from_millis(100))
        .with(FANFOLD, || square::map(0..100_000).collect::<Vec<_>>())
        .with(PROCESSES, || square_in_process::map(0..100_000).collect::<Vec<_>>())
        .with(LOOP, || (0..100_000).map(square::serial).collect::<Vec<_>>());
    run_with_peers(report, python, "squares", squares);
    let sleepers = Contest::new("200 sleeps of 50 ms on 200 threads")
        .rounds(3, Duration::from_millis(150))
        .with(FANFOLD, || sleep::map(0..SLEEPERS).for_each(drop));
    run_with_peers(report, python, "sleepers", sleepers);
    let task = Contest::new("one task, submitted and joined").with(FANFOLD, || square::submit(1).join());
    run_with_peers(report, python, "task", task);
    let pipelined = Contest::new("10,000 tasks, submitted and then joined; time of each").with_timed(FANFOLD, || {
        let start = Instant::now();
        join_all((0..10_000).map(square::submit)).expect("no panic");
        start.elapsed() / 10_000
    });
    run_with_peers(report, python, "pipelined task", pipelined);
}

#[derive(Deserialize)]
struct Row {
    a: i64,
    b: i64,
}

fn frames(report: &mut Report, python: &Python) -> PolarsResult<()> {
    let frame = numbers(2_000_000)?;
    let squares = Contest::new("the squares of 2M x 4 numbers, in four chunks")
        .rounds(5, Duration::from_millis(200))
        .with(FANFOLD, || frame.par_chunks(CHUNKS).map(squared))
        .with(LOOP, || squared(frame.clone()));
    run_with_peers(report, python, "frame squares", squares);
    let few = frame.head(Some(100_000));
    let rows = Contest::new("a function of 100,000 rows")
        .rounds(5, Duration::from_millis(100))
        .with(FANFOLD, || -> Result<Series, _> { few.par_chunks(CHUNKS).map_rows(|row: Row| row.a * row.a + row.b) });
    run_with_peers(report, python, "rows", rows);
    let mut keyed = frame.head(Some(1_000_000));
    keyed.with_column(scattered("k", 7_919, 1_000_000))?;
    let groups = Contest::new("a function of each of 1,000 groups, 1M rows")
        .rounds(5, Duration::from_millis(200))
        .with(FANFOLD, || keyed.par_groups(["k"]).map_groups(summary))
        .with("Polars GroupBy::apply", || keyed.group_by_stable(["k"]).and_then(|groups| groups.apply(summary)));
    run_with_peers(report, python, "groups", groups);
    Ok(())
}

fn numbers(rows: i64) -> PolarsResult<DataFrame> {
    let columns = [("a", 31), ("b", 37), ("c", 41), ("d", 43)].map(|(name, factor)| scattered(name, factor, rows));
    DataFrame::new_infer_height(columns.to_vec())
}

/// Numbers from 0 to 999.
fn scattered(name: &str, factor: i64, rows: i64) -> Column {
    Column::new(name.into(), (0..rows).map(|row| row * factor % 1_000).collect::<Vec<_>>())
}

#[allow(clippy::needless_pass_by_value, reason = "the signature of a chunk function")]
fn squared(frame: DataFrame) -> PolarsResult<DataFrame> {
    let columns: PolarsResult<Vec<Column>> = frame.columns().iter().map(|column| column * column).collect();
    DataFrame::new(frame.height(), columns?)
}

#[allow(clippy::needless_pass_by_value, reason = "the signature of a chunk function")]
fn summary(group: DataFrame) -> PolarsResult<DataFrame> {
    let (key, products) = (group.column("k")?.head(Some(1)), (group.column("b")? * group.column("c")?)?);
    let mean = Column::new("mean".into(), [group.column("a")?.as_materialized_series().mean()]);
    let sum = Column::new("sum".into(), [products.as_materialized_series().sum::<i64>()?]);
    DataFrame::new(1, vec![key, mean, sum])
}

/// Runs a contest, and adds the times of Python's peers.
fn run_with_peers(report: &mut Report, python: &Python, task: &str, contest: Contest<'_>) {
    if let Some(outcome) = report.run(contest) {
        python.add_to(task, outcome);
    }
    println!();
}
