//! A report as text.

use std::fmt;
use std::time::Duration;

use super::Report;
use super::summary::short;

/// The most rows of a table. A program of hundreds of threads is better looked at as a picture.
const MAX_ROWS: usize = 40;

/// Two tables: the workers, and the functions with most work first.
impl<T> fmt::Display for Report<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (wall, busy) = (Time(self.wall()), Time(self.busy()));
        writeln!(f, "{wall} in all, {busy} of work on {} threads: {:.2} at once", self.workers.len(), self.speedup())?;
        if self.lost() > 0 {
            writeln!(f, "{} later pieces of work are not in this report", self.lost())?;
        }
        if self.workers.is_empty() && self.functions.is_empty() {
            return f.write_str("no worker ran anything, or nothing that it ran has ended\n");
        }
        let name = self.workers.iter().take(MAX_ROWS).map(|worker| worker.name.len()).max().unwrap_or(0).max(6);
        writeln!(f, "\n{:<name$}  {:>6}  {:>7}  {:>6}  {:>9}", "worker", "busy", "waiting", "idle", "pieces")?;
        for worker in self.workers.iter().take(MAX_ROWS) {
            let part = |time: Duration| 100.0 * time.as_secs_f64() / self.wall().as_secs_f64().max(1e-9);
            let (busy, waiting, idle) = (part(worker.busy), part(worker.waiting), part(worker.idle));
            let twentieths = 20 * worker.busy.as_nanos() / self.wall().as_nanos().max(1);
            let bar = "#".repeat(usize::try_from(twentieths).unwrap_or(20).min(20));
            writeln!(
                f,
                "{:<name$}  {busy:>5.1}%  {waiting:>6.1}%  {idle:>5.1}%  {:>9}  {bar}",
                worker.name, worker.pieces
            )?;
        }
        more(f, self.workers.len())?;
        let name = self.functions.iter().take(MAX_ROWS).map(|function| short(&function.function).len()).max();
        let name = name.unwrap_or(0).max(8);
        writeln!(
            f,
            "\n{:<name$}  {:<6}  {:>9}  {:>8}  {:>8}  {:>8}  {:>6}  {:>8}  {:>7}",
            "function", "pieces", "", "work", "mean", "longest", "skew", "queued", "at once"
        )?;
        for function in self.functions.iter().take(MAX_ROWS) {
            writeln!(
                f,
                "{:<name$}  {:<6}  {:>9}  {:>8}  {:>8}  {:>8}  {:>6.1}  {:>8}  {:>7.2}",
                short(&function.function),
                function.what,
                function.pieces,
                Time(function.total).to_string(),
                Time(function.mean()).to_string(),
                Time(function.longest).to_string(),
                function.skew(),
                function.mean_queued.map(|queued| Time(queued).to_string()).unwrap_or_default(),
                function.speedup(),
            )?;
        }
        more(f, self.functions.len())
    }
}

/// Says how many rows were left out.
fn more(f: &mut fmt::Formatter<'_>, rows: usize) -> fmt::Result {
    if rows > MAX_ROWS { writeln!(f, "and {} more", rows - MAX_ROWS) } else { Ok(()) }
}

/// A duration in three digits.
pub(super) struct Time(pub(super) Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        let (value, unit) = match seconds {
            s if s >= 1.0 => (s, "s"),
            s if s >= 1e-3 => (s * 1e3, "ms"),
            s => (s * 1e6, "us"),
        };
        let digits = if value >= 99.95 { 0 } else { usize::from(value < 99.95) + usize::from(value < 9.995) };
        write!(f, "{value:.digits$} {unit}")
    }
}
