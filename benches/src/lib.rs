//! Side-by-side timing: contenders run in turn within one process, in blocks of warm calls, and what counts is the
//! ratio of their medians. Absolute times depend on the machine and on who else uses it; ratios hardly do.
//!
//! The blocks are not interleaved call by call: a contender whose workers spin for a while after their work would
//! hand them, warm, to the next one.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// One of several ways to do the same.
struct Contender<'a> {
    name: String,
    /// Runs once and says how long that took.
    run: Box<dyn FnMut() -> Duration + 'a>,
    /// The median time of a call, for each block.
    blocks: Vec<Duration>,
}

/// Contenders that do the same work.
pub struct Contest<'a> {
    title: String,
    contenders: Vec<Contender<'a>>,
    rounds: usize,
    block: Duration,
}

impl<'a> Contest<'a> {
    /// A contest of 9 rounds, with blocks of 100 ms.
    #[must_use]
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), contenders: Vec::new(), rounds: 9, block: Duration::from_millis(100) }
    }

    /// Sets the number of rounds and how long each contender's block lasts in each.
    #[must_use]
    pub fn rounds(mut self, rounds: usize, block: Duration) -> Self {
        self.rounds = rounds;
        self.block = block;
        self
    }

    /// Adds a contender. What it returns is dropped within the time that counts.
    #[must_use]
    pub fn with<T>(self, name: impl Into<String>, mut run: impl FnMut() -> T + 'a) -> Self {
        self.with_timed(name, move || {
            let start = Instant::now();
            drop(black_box(run()));
            start.elapsed()
        })
    }

    /// Adds a contender that times itself, as only a part of it counts.
    #[must_use]
    pub fn with_timed(mut self, name: impl Into<String>, run: impl FnMut() -> Duration + 'a) -> Self {
        let run = Box::new(run);
        self.contenders.push(Contender { name: name.into(), run, blocks: Vec::new() });
        self
    }

    /// Runs all rounds. Each begins with another contender, so that none always follows the same one.
    #[must_use]
    pub fn run(mut self) -> Outcome {
        let count = self.contenders.len();
        for round in 0..self.rounds {
            for turn in 0..count {
                let contender = &mut self.contenders[(round + turn) % count];
                contender.blocks.push(block(&mut contender.run, self.block));
            }
        }
        let rows = self.contenders.into_iter().map(|contender| Row { name: contender.name, blocks: contender.blocks });
        Outcome { title: self.title, rows: rows.collect() }
    }
}

/// Calls until the block's time is over, after one call to warm up; gives the median call.
fn block(run: &mut dyn FnMut() -> Duration, length: Duration) -> Duration {
    run();
    let end = Instant::now() + length;
    let mut calls = Vec::new();
    loop {
        calls.push(run());
        if Instant::now() >= end {
            return median(&mut calls);
        }
    }
}

fn median<T: Ord + Copy>(values: &mut [T]) -> T {
    values.sort_unstable();
    values[values.len() / 2]
}

struct Row {
    name: String,
    blocks: Vec<Duration>,
}

/// What a contest measured.
pub struct Outcome {
    title: String,
    rows: Vec<Row>,
}

impl Outcome {
    /// The median time of a contender's call.
    ///
    /// # Panics
    ///
    /// If there was no such contender.
    #[must_use]
    pub fn time(&self, name: &str) -> Duration {
        median(&mut self.row(name).blocks.clone())
    }

    /// How many times as long `name` took as `other`: the median of the rounds' ratios.
    ///
    /// # Panics
    ///
    /// If there was no such contender.
    #[must_use]
    pub fn ratio(&self, name: &str, other: &str) -> f64 {
        let pairs = self.row(name).blocks.iter().zip(&self.row(other).blocks);
        let mut ratios: Vec<f64> = pairs.map(|(a, b)| a.as_secs_f64() / b.as_secs_f64()).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        ratios[ratios.len() / 2]
    }

    fn row(&self, name: &str) -> &Row {
        let row = self.rows.iter().find(|row| row.name == name);
        row.unwrap_or_else(|| panic!("no contender is called `{name}`"))
    }

    /// A table: each contender's median call, its fastest and slowest block, and its ratio to the first.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = format!("{}\n", self.title);
        let first = &self.rows[0].name;
        for row in &self.rows {
            let mut blocks = row.blocks.clone();
            let typical = median(&mut blocks);
            let (low, high) = (blocks[0], blocks[blocks.len() - 1]);
            let ratio = self.ratio(&row.name, first);
            let _ = writeln!(table, "  {:34} {typical:>10.1?}  ({low:.1?} .. {high:.1?})  x{ratio:.3}", row.name);
        }
        table
    }
}

/// A bar: a figure and its limit.
#[must_use]
pub fn verdict(what: &str, figure: f64, limit: f64) -> String {
    let word = if figure <= limit { "holds" } else { "MISSED" };
    format!("  bar: {what}: {figure:.3} (at most {limit}) {word}\n")
}

/// The processor time that this process has used, all threads together.
///
/// # Panics
///
/// Where the operating system does not say.
#[must_use]
pub fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes the time, and nothing else.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(status, 0, "the operating system keeps no processor time");
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanoseconds.unwrap_or_default())
}
