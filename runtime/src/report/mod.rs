//! [`report`]: runs a closure, and says which worker ran what and when.
//!
//! | file | what |
//! |---|---|
//! | `timeline.rs` | the recorded pieces of each thread: which is inside of which, and how long each took itself |
//! | `summary.rs` | [`WorkerReport`] and [`FunctionReport`]: the figures of a thread and of a function |
//! | `table.rs` | the report as text |
//! | `svg.rs` | the report as a picture |
//! | `chrome_trace.rs` | the report as a file for Perfetto |

mod chrome_trace;
mod summary;
mod svg;
mod table;
#[cfg(test)]
mod tests;
mod timeline;

use std::time::Duration;

pub use summary::{FunctionReport, WorkerReport};

use crate::pool::recorder::ReportClock;
use timeline::Timeline;

/// Runs a closure, and reports which worker ran what meanwhile, and when: in all pools, from all threads.
///
/// Print the report for a table: how busy each worker was, and for each function how long its pieces took and how long
/// they were queued. [`svg`](Report::svg) is the same as a picture with a lane for each worker, and
/// [`chrome_trace`](Report::chrome_trace) as a file that [Perfetto](https://ui.perfetto.dev) opens.
///
/// The pieces are tasks, chunks, blocks of items of a map, direct calls on a worker and halves of
/// [`join`](crate::join()); calls that run in place are parts of what called them. A worker process appears as the
/// thread that drives it. Pieces that have not ended when the closure returns are left out: join them in the closure.
/// In a program that serves requests, `report(|| thread::sleep(..))` shows what goes on.
///
/// A piece costs some 100 ns and 64 bytes while a report is being made, and a task for a worker process is then sent
/// only when its worker is idle. Of a million pieces the later ones are only counted. Several reports may be made at
/// the same time; each shows the work of all.
///
/// # Panics
///
/// With the closure's own payload.
///
/// # Examples
///
/// ```
/// let report = fanfold::report(|| fanfold::map(0..1_000_u64, |n| (1..=n).sum::<u64>()).collect::<Vec<_>>());
/// println!("{report}");
/// assert!(report.speedup() > 0.0);
/// std::fs::write(std::env::temp_dir().join("fanfold-report.svg"), report.svg())?;
/// assert_eq!(report.into_value().len(), 1_000);
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "profile")]
#[doc(alias = "timeline")]
pub fn report<T>(work: impl FnOnce() -> T) -> Report<T> {
    let clock = ReportClock::start();
    let value = work();
    let timeline = Timeline::new(clock.finish());
    let (workers, functions) = (summary::workers(&timeline), summary::functions(&timeline));
    Report { value, timeline, workers, functions }
}

/// What workers did while a closure ran. [`report`] makes it.
#[derive(Clone, Debug)]
pub struct Report<T = ()> {
    value: T,
    timeline: Timeline,
    workers: Vec<WorkerReport>,
    functions: Vec<FunctionReport>,
}

impl<T> Report<T> {
    /// What the closure returned.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// What the closure returned.
    pub fn into_value(self) -> T {
        self.value
    }

    /// How long the closure took.
    #[must_use]
    pub fn wall(&self) -> Duration {
        self.timeline.wall
    }

    /// How long the workers ran pieces of work, added up.
    #[must_use]
    pub fn busy(&self) -> Duration {
        self.workers.iter().map(|worker| worker.busy).sum()
    }

    /// The work of all workers, divided by the time that the closure took: how many of them were busy on average.
    ///
    /// It says nothing about how long the closure would take on one thread, as work may take longer beside other work.
    #[must_use]
    pub fn speedup(&self) -> f64 {
        self.busy().as_secs_f64() / self.wall().as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// The threads that ran something, the calling thread included where it computed along.
    #[must_use]
    pub fn workers(&self) -> &[WorkerReport] {
        &self.workers
    }

    /// The functions that ran, most work first.
    #[must_use]
    pub fn functions(&self) -> &[FunctionReport] {
        &self.functions
    }

    /// The pieces that are not in the report, as a million others came before.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.timeline.lost
    }

    /// The report as a picture: a lane for each thread and a rectangle for each piece, with its figures where the
    /// pointer rests. The SVG needs no other file and runs no script; it is dark where the reader's system is.
    ///
    /// Pieces that are too short to be seen are drawn as one.
    ///
    /// # Examples
    ///
    /// ```
    /// let report = fanfold::report(|| fanfold::install(|| 1 + 1));
    /// assert!(report.svg().starts_with("<svg"));
    /// ```
    #[must_use]
    pub fn svg(&self) -> String {
        svg::draw(&self.timeline, &self.functions, self.speedup())
    }

    /// The report as JSON in Chrome's trace event format, which [Perfetto](https://ui.perfetto.dev) and
    /// `chrome://tracing` open.
    ///
    /// # Examples
    ///
    /// ```
    /// let report = fanfold::report(|| fanfold::install(|| 1 + 1));
    /// assert!(report.chrome_trace().starts_with("{\"traceEvents\":["));
    /// ```
    #[must_use]
    pub fn chrome_trace(&self) -> String {
        chrome_trace::write(&self.timeline)
    }
}
