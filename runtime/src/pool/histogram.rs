//! [`Histogram`]: how many times were in which range, as part of [`Stats`](super::Stats).

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The number of buckets: from 1 us to 18 minutes, each twice as wide as the one before.
const BUCKETS: usize = 32;
/// The first bucket holds what is shorter than 2 to the power of this, in nanoseconds: about 1 us.
const FIRST_BITS: u32 = 10;

/// How often which times were measured: counts in fixed buckets, each twice as wide as the one before.
///
/// The first bucket holds what took less than 1.024 us, the last one what took 18 minutes or more.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use fanfold::Pool;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// fanfold::configure().task_times(true).apply()?; // times are measured from here on
/// let pool = Pool::io("measured").threads(1).build()?;
/// pool.submit(|| std::thread::sleep(Duration::from_millis(5))).join()?;
/// let times = pool.stats().run_time;
/// assert_eq!(times.count(), 1);
/// assert!(times.mean() >= Duration::from_millis(5));
/// assert!(times.quantile(0.99) >= Some(Duration::from_millis(5)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Histogram {
    buckets: [u64; BUCKETS],
    total_ns: u64,
}

impl Histogram {
    pub(super) const EMPTY: Self = Self { buckets: [0; BUCKETS], total_ns: 0 };

    /// The number of times.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The sum of all times.
    #[must_use]
    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.total_ns)
    }

    /// The mean of all times; zero if there is none.
    #[must_use]
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.total_ns.checked_div(self.count()).unwrap_or(0))
    }

    /// A time that the part `q` of all times does not exceed, from 0 to 1: `quantile(0.99)` is the 99th percentile. It
    /// is the upper end of a bucket, so up to twice the exact quantile. `None` without any time, and
    /// [`Duration::MAX`] in the last bucket.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "2^52 times are not counted in a lifetime")]
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let wanted = q.clamp(0.0, 1.0) * self.count() as f64;
        let mut below = 0;
        self.buckets().find_map(|(end, count)| {
            below += count;
            (count > 0 && below as f64 >= wanted).then_some(end)
        })
    }

    /// Every bucket: its upper end, which it does not contain, and how many times it holds. The last one ends at
    /// [`Duration::MAX`].
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        self.buckets.iter().enumerate().map(|(index, count)| (bucket_end(index), *count))
    }

    pub(super) fn add(&mut self, shard: &AtomicHistogram) {
        for (sum, count) in self.buckets.iter_mut().zip(&shard.buckets) {
            *sum += count.load(Ordering::Relaxed);
        }
        self.total_ns += shard.total_ns.load(Ordering::Relaxed);
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram")
            .field("count", &self.count())
            .field("mean", &self.mean())
            .field("median", &self.quantile(0.5))
            .field("p99", &self.quantile(0.99))
            .finish_non_exhaustive()
    }
}

fn bucket_of(ns: u64) -> usize {
    let bits = u64::BITS - ns.leading_zeros();
    usize::try_from(bits.saturating_sub(FIRST_BITS)).map_or(0, |index| index.min(BUCKETS - 1))
}

fn bucket_end(index: usize) -> Duration {
    if index == BUCKETS - 1 { Duration::MAX } else { Duration::from_nanos(1 << (index + FIRST_BITS as usize)) }
}

/// A histogram that several threads add to.
#[derive(Default)]
pub(super) struct AtomicHistogram {
    buckets: [AtomicU64; BUCKETS],
    total_ns: AtomicU64,
}

impl AtomicHistogram {
    pub(super) fn record(&self, ns: u64) {
        self.buckets[bucket_of(ns)].fetch_add(1, Ordering::Relaxed);
        self.total_ns.fetch_add(ns, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(times: &[u64]) -> Histogram {
        let (shard, mut sum) = (AtomicHistogram::default(), Histogram::EMPTY);
        times.iter().for_each(|ns| shard.record(*ns));
        sum.add(&shard);
        sum
    }

    #[test]
    fn each_time_is_below_the_end_of_its_bucket_and_not_below_that_of_the_one_before() {
        for ns in [0, 1, 1_023, 1_024, 1_025, 2_047, 2_048, 1_000_000, (1 << 40) - 1, 1 << 40, u64::MAX] {
            let index = bucket_of(ns);
            assert!(Duration::from_nanos(ns) < bucket_end(index), "{ns}");
            assert!(index == 0 || Duration::from_nanos(ns) >= bucket_end(index - 1), "{ns}");
        }
    }

    #[test]
    fn quantiles_are_bucket_ends() {
        let times = of(&[500, 500, 500, 3_000]);
        assert_eq!((times.count(), times.total()), (4, Duration::from_nanos(4_500)));
        assert_eq!(times.quantile(0.5), Some(Duration::from_nanos(1_024)));
        assert_eq!(times.quantile(1.0), Some(Duration::from_nanos(4_096)));
        assert_eq!(times.quantile(0.0), Some(Duration::from_nanos(1_024)));
        assert_eq!(of(&[]).quantile(0.5), None);
        assert_eq!(of(&[]).mean(), Duration::ZERO);
        assert_eq!(of(&[u64::MAX]).quantile(2.0), Some(Duration::MAX));
    }
}
