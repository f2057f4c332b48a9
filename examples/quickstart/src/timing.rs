//! Timing of serial and parallel runs.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Runs of each kind.
const RUNS: usize = 11;

/// The minimum of runs, if they take long.
const FEWEST_RUNS: usize = 3;

/// Beyond the minimum, no run is started after this much time.
const BUDGET: Duration = Duration::from_millis(1_500);

/// The times of a serial and a parallel run.
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
    /// The serial time divided by the parallel time.
    #[must_use]
    pub fn speedup(&self) -> f64 {
        self.serial.as_secs_f64() / self.parallel.as_secs_f64()
    }
}

/// Times two implementations of the same work, and gives the first result of each.
///
/// The first runs warm up caches and start the pool's threads, so they do not count. The timed runs alternate, so that
/// other load on the machine slows both kinds alike.
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

/// The time of a run, without dropping its result.
fn time<T>(run: &mut impl FnMut() -> T) -> Duration {
    let started = Instant::now();
    // `black_box`: the compiler would leave out work whose result is dropped.
    let result = black_box(run());
    let taken = started.elapsed();
    drop(result);
    taken
}

/// The median; the slower of the two middle ones if their number is even.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_ignores_outliers() {
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
