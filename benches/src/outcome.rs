//! Results of a contest: times, ratios, and whether targets are met.

use std::fmt::Write as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::FANFOLD;

/// A contender's times, in nanoseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// The contender's name.
    pub name: String,
    /// The median call of the median block.
    pub median: f64,
    /// The median call of the fastest block.
    pub low: f64,
    /// The median call of the slowest block.
    pub high: f64,
    /// The ratio to the first contender: the median of the rounds' ratios.
    pub ratio: f64,
    /// The median call of each block.
    #[serde(skip)]
    blocks: Vec<Duration>,
}

/// A target: a figure and its limit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bar {
    /// What is measured.
    pub what: String,
    /// The measured figure.
    pub figure: f64,
    /// The limit.
    pub limit: f64,
    /// Whether the figure is within the limit.
    pub holds: bool,
}

/// The results of a contest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The contest's title.
    pub title: String,
    /// The day, in UTC.
    pub date: String,
    /// The share of all cores that other processes used.
    pub load: f64,
    /// The contenders.
    pub rows: Vec<Row>,
    /// The targets.
    pub bars: Vec<Bar>,
}

/// Fanfold compared with its fastest peer, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// Fanfold's median call.
    pub ours: f64,
    /// The peer's.
    pub best: f64,
    /// The peer's name.
    pub peer: &'a str,
}

impl Standing<'_> {
    /// The ratio of Fanfold's time to the peer's.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.ours / self.best
    }
}

impl Outcome {
    pub(crate) fn new(title: String, rows: Vec<(String, Vec<Duration>)>, load: f64) -> Self {
        let first = rows.first().map(|(_, blocks)| blocks.clone()).unwrap_or_default();
        let rows = rows.into_iter().map(|(name, blocks)| Row::new(name, blocks, &first)).collect();
        let date = chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now());
        Self { title, date: date.format("%Y-%m-%d").to_string(), load, rows, bars: Vec::new() }
    }

    /// Times that were measured outside of a contest.
    #[must_use]
    pub fn measured(title: impl Into<String>, times: impl IntoIterator<Item = (String, Duration)>) -> Self {
        Self::new(title.into(), times.into_iter().map(|(name, time)| (name, vec![time])).collect(), 0.0)
    }

    /// Adds a time that was measured elsewhere, such as that of a peer in another process.
    pub fn add_measured(&mut self, name: impl Into<String>, time: Duration) {
        let first = self.rows.first().map_or(time, |row| duration(row.median));
        let row = Row::new(name.into(), vec![time], &[first]);
        print!("{}", row.line());
        self.rows.push(row);
    }

    /// The median time of a contender's call.
    ///
    /// # Panics
    ///
    /// If there was no such contender.
    #[must_use]
    pub fn time(&self, name: &str) -> Duration {
        duration(self.row(name).median)
    }

    /// The ratio of `name`'s time to `other`'s: the median of the rounds' ratios.
    ///
    /// # Panics
    ///
    /// If there was no such contender.
    #[must_use]
    pub fn ratio(&self, name: &str, other: &str) -> f64 {
        ratio(&self.row(name).blocks, &self.row(other).blocks)
    }

    /// The name of the fastest peer.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn best_peer(&self) -> String {
        let standing = self.standing();
        standing.unwrap_or_else(|| panic!("`{}` has no peers", self.title)).peer.to_owned()
    }

    /// The ratio of `name`'s time, less `allowance`, to `other`'s.
    #[must_use]
    pub fn ratio_less(&self, name: &str, other: &str, allowance: Duration) -> f64 {
        let less: Vec<Duration> = self.row(name).blocks.iter().map(|block| block.saturating_sub(allowance)).collect();
        ratio(&less, &self.row(other).blocks)
    }

    /// Fanfold's fastest contender compared with the fastest peer; `None` if one of them is missing.
    #[must_use]
    pub fn standing(&self) -> Option<Standing<'_>> {
        let fastest = |ours: bool| {
            let rows = self.rows.iter().filter(move |row| row.name.starts_with(FANFOLD) == ours);
            rows.min_by(|a, b| a.median.total_cmp(&b.median))
        };
        let (ours, best) = (fastest(true)?, fastest(false)?);
        Some(Standing { ours: ours.median, best: best.median, peer: &best.name })
    }

    fn row(&self, name: &str) -> &Row {
        let row = self.rows.iter().find(|row| row.name == name);
        row.unwrap_or_else(|| panic!("no contender is called `{name}`"))
    }

    /// Records a target, and prints whether it is met.
    pub fn bar(&mut self, what: impl Into<String>, figure: f64, limit: f64) {
        self.bar_quietly(what, figure, limit);
        println!("{}", self.bars[self.bars.len() - 1].line());
    }

    /// Records a target, for a part that prints it in its own way.
    pub fn bar_quietly(&mut self, what: impl Into<String>, figure: f64, limit: f64) {
        self.bars.push(Bar { what: what.into(), figure, limit, holds: figure <= limit });
    }

    /// A table: each contender's median call, its fastest and slowest block, and its ratio to the first.
    #[must_use]
    pub fn table(&self) -> String {
        let others = format!("  (other processes used {:.0} % of the machine)", self.load * 100.0);
        let busy = if self.load > BUSY { others.as_str() } else { "" };
        let mut table = format!("{}{busy}\n", self.title);
        for row in &self.rows {
            let _ = write!(table, "{}", row.line());
        }
        table
    }
}

/// Above this share of all cores, other processes distort the figures.
pub(crate) const BUSY: f64 = 0.1;

impl Row {
    fn new(name: String, blocks: Vec<Duration>, first: &[Duration]) -> Self {
        let mut sorted = blocks.clone();
        let typical = median(&mut sorted);
        let nanoseconds = |time: Duration| time.as_secs_f64() * 1e9;
        let (low, high) = (nanoseconds(sorted[0]), nanoseconds(sorted[sorted.len() - 1]));
        Self { name, median: nanoseconds(typical), low, high, ratio: ratio(&blocks, first), blocks }
    }

    fn line(&self) -> String {
        let [typical, low, high] = [self.median, self.low, self.high].map(duration);
        format!("  {:34} {typical:>10.1?}  ({low:.1?} .. {high:.1?})  x{:.3}\n", self.name, self.ratio)
    }
}

impl Bar {
    /// A line that says whether the target is met.
    #[must_use]
    pub fn line(&self) -> String {
        let word = if self.holds { "met" } else { "MISSED" };
        format!("  target: {}: {:.3} (limit {:.3}) {word}", self.what, self.figure, self.limit)
    }
}

/// The median of the rounds' ratios: a disturbance of a whole round is in both times.
fn ratio(blocks: &[Duration], others: &[Duration]) -> f64 {
    let pairs = blocks.iter().zip(others);
    let mut ratios: Vec<f64> = pairs.map(|(a, b)| a.as_secs_f64() / b.as_secs_f64()).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

pub(crate) fn median<T: Ord + Copy>(values: &mut [T]) -> T {
    values.sort_unstable();
    values[values.len() / 2]
}

fn duration(nanoseconds: f64) -> Duration {
    Duration::from_secs_f64(nanoseconds / 1e9)
}
