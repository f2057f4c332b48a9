//! Serial against parallel, timed alike.

use std::time::{Duration, Instant};

/// Runs of each kind.
const RUNS: usize = 11;

/// Fewer runs, where these take long.
const FEWEST_RUNS: usize = 3;

/// Long: no run beyond the fewest is started once this much time is spent.
const BUDGET: Duration = Duration::from_millis(1_500);

/// How long a serial and a parallel run take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// The median of the serial runs.
    pub serial: Duration,
    /// The median of the parallel runs.
    pub parallel: Duration,
    /// Timed runs of each kind.
    pub runs: usize,
}

impl Times {
    /// How many times as fast the parallel run is.
    #[must_use]
    pub fn speedup(&self) -> f64 {
        self.serial.as_secs_f64() / self.parallel.as_secs_f64()
    }
}

/// Times two ways to do the same, and gives the first result of each.
///
/// The first runs warm up caches and start the pool's threads, so they do not count. The timed ones take turns:
/// whatever else the machine is busy with then slows both kinds alike.
pub fn compare<T>(mut serial: impl FnMut() -> T, mut parallel: impl FnMut() -> T) -> (T, T, Times) {
    let results = (serial(), parallel());
    let started = Instant::now();
    let (mut one, mut many) = (Vec::new(), Vec::new());
    while one.len() < FEWEST_RUNS || (one.len() < RUNS && started.elapsed() < BUDGET) {
        one.push(time(&mut serial));
        many.push(time(&mut parallel));
    }
    let runs = one.len();
    (results.0, results.1, Times { serial: median(one), parallel: median(many), runs })
}

/// How long a run takes; what it returns is dropped after the clock is stopped.
fn time<T>(run: &mut impl FnMut() -> T) -> Duration {
    let started = Instant::now();
    let result = run();
    let taken = started.elapsed();
    drop(result);
    taken
}

/// The one in the middle, of an even number the slower one.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_no_outlier() {
        let seconds = |all: &[u64]| all.iter().map(|s| Duration::from_secs(*s)).collect::<Vec<_>>();
        assert_eq!(median(seconds(&[900, 1, 3, 2, 2])), Duration::from_secs(2));
        assert_eq!(median(seconds(&[4, 1])), Duration::from_secs(4));
        assert_eq!(median(Vec::new()), Duration::ZERO);
    }

    #[test]
    fn both_ways_run_equally_often() {
        let (mut one, mut many) = (0, 0);
        let count = |n: &mut usize| {
            *n += 1;
            *n
        };
        let (first, second, times) = compare(|| count(&mut one), || count(&mut many));
        assert_eq!((first, second), (1, 1));
        assert_eq!((one, many), (times.runs + 1, times.runs + 1));
        assert!((FEWEST_RUNS..=RUNS).contains(&times.runs));
    }

    #[test]
    fn speedup_is_serial_over_parallel() {
        let times = Times { serial: Duration::from_secs(3), parallel: Duration::from_secs(2), runs: 1 };
        assert!((times.speedup() - 1.5).abs() < 1e-12);
    }
}
