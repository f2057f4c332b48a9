//! Metrics of all pools for the crate `metrics` (feature of that name), and so for Prometheus and others.
//!
//! [`publish`] passes what the pools have counted since the last call to the program's recorder. The pools count
//! anyway, so a task costs nothing more. Call it where metrics are scraped, or have [`publish_every`] do so.
//!
//! | metric | of each pool |
//! |---|---|
//! | `fanfold_pool_limit` | gauge: tasks that may run at once |
//! | `fanfold_pool_threads` | gauge: threads that exist |
//! | `fanfold_pool_busy` | gauge: workers that run a task or a share of a map |
//! | `fanfold_pool_queued` | gauge: tasks that wait for a worker |
//! | `fanfold_tasks_total` | counter: tasks that have ended; the label `outcome` is `done`, `failed` or `cancelled` |
//! | `fanfold_maps_total` | counter: maps and calls with `chunks` that have begun |
//! | `fanfold_task_queue_seconds` | histogram: how long tasks were queued |
//! | `fanfold_task_run_seconds` | histogram: how long tasks ran |
//!
//! All have the label `pool`, which is [`Pool::name`](crate::Pool::name), and the label `kind`, which is `cpu`, `io`,
//! `frame` or `process`. Pools of one name and kind are added up. The histograms are empty unless
//! [`task_times`](crate::Configure::task_times) is on. They are recorded from [`Histogram`] buckets, each time as the
//! middle of its bucket.
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//! use fanfold::Pool;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // First install the recorder of your choice, such as `metrics_exporter_prometheus::PrometheusBuilder`.
//! fanfold::configure().task_times(true).apply()?;
//! let _publisher = fanfold::metrics::publish_every(Duration::from_secs(10)); // until it is dropped
//! Pool::io_default().submit(|| 6 * 7).join()?;
//! fanfold::metrics::publish(); // at once
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

/// The crate whose recorder gets the metrics.
pub use metrics;
use metrics::Unit;

use crate::pool::listing::started_pools;
use crate::pool::timer::{self, Expire};
use crate::pool::{Core, Histogram, Stats};
use crate::sys::mutex;

/// Passes the metrics of all pools to the program's recorder: see [the module](self).
///
/// What a pool has counted is passed on once, so set the recorder first: what is published without one is lost. So is
/// what a pool has counted between the last call and its drop.
pub fn publish() {
    // One at a time, so that each count is passed on once, and in order.
    static PUBLISHED: Mutex<Published> = Mutex::new(Published { pools: BTreeMap::new(), is_busy: false });
    let mut published = mutex::lock(&PUBLISHED);
    if std::mem::replace(&mut published.is_busy, true) {
        return; // Another thread is at it, or a recorder that calls this.
    }
    let before = std::mem::take(&mut published.pools);
    drop(published);
    // The recorder is code of the program: it may panic, and may call this.
    let _done = OnDrop(|| mutex::lock(&PUBLISHED).is_busy = false);
    let now = pass_on(&before);
    let earlier = std::mem::replace(&mut mutex::lock(&PUBLISHED).pools, now);
    drop(earlier);
}

/// The stats of each pool when they were last passed on, by the pool's id.
struct Published {
    pools: BTreeMap<u64, Stats>,
    is_busy: bool,
}

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn pass_on(before: &BTreeMap<u64, Stats>) -> BTreeMap<u64, Stats> {
    describe();
    let mut gauges: BTreeMap<(&'static str, &'static str), [usize; 4]> = BTreeMap::new();
    let mut now = BTreeMap::new();
    for core in started_pools() {
        let (stats, labels) = (core.stats(), labels(&core));
        pass_counts(labels, &stats, before.get(&core.id()));
        now.insert(core.id(), stats);
        let sums = gauges.entry(labels).or_default();
        for (sum, value) in sums.iter_mut().zip([stats.limit, stats.threads, stats.busy, stats.queued]) {
            *sum = sum.saturating_add(value);
        }
    }
    for ((pool, kind), [limit, threads, busy, queued]) in gauges {
        metrics::gauge!("fanfold_pool_limit", "pool" => pool, "kind" => kind).set(as_f64(limit));
        metrics::gauge!("fanfold_pool_threads", "pool" => pool, "kind" => kind).set(as_f64(threads));
        metrics::gauge!("fanfold_pool_busy", "pool" => pool, "kind" => kind).set(as_f64(busy));
        metrics::gauge!("fanfold_pool_queued", "pool" => pool, "kind" => kind).set(as_f64(queued));
    }
    now
}

fn labels(core: &Core) -> (&'static str, &'static str) {
    (core.name(), core.kind().label())
}

fn pass_counts((pool, kind): (&'static str, &'static str), stats: &Stats, before: Option<&Stats>) {
    let since = |count: fn(&Stats) -> u64| count(stats).saturating_sub(before.map_or(0, count));
    let count_tasks = |outcome: &'static str, tasks| {
        metrics::counter!("fanfold_tasks_total", "pool" => pool, "kind" => kind, "outcome" => outcome).increment(tasks);
    };
    count_tasks("done", since(|stats| stats.done));
    count_tasks("failed", since(|stats| stats.failed));
    count_tasks("cancelled", since(|stats| stats.cancelled));
    metrics::counter!("fanfold_maps_total", "pool" => pool, "kind" => kind).increment(since(|stats| stats.maps));
    let queued = metrics::histogram!("fanfold_task_queue_seconds", "pool" => pool, "kind" => kind);
    pass_times(&queued, &stats.queue_wait, before.map(|before| &before.queue_wait));
    let ran = metrics::histogram!("fanfold_task_run_seconds", "pool" => pool, "kind" => kind);
    pass_times(&ran, &stats.run_time, before.map(|before| &before.run_time));
}

fn pass_times(to: &metrics::Histogram, times: &Histogram, before: Option<&Histogram>) {
    let earlier = before.into_iter().flat_map(Histogram::buckets).map(|(_, count)| count);
    let mut start = Duration::ZERO;
    for ((end, count), earlier) in times.buckets().zip(earlier.chain(std::iter::repeat(0))) {
        // The last bucket has no end.
        let middle = if end == Duration::MAX { start } else { (start + end) / 2 };
        start = end;
        if let Some(new) = count.checked_sub(earlier).and_then(|new| usize::try_from(new).ok()).filter(|new| *new > 0) {
            to.record_many(middle.as_secs_f64(), new);
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn as_f64(count: usize) -> f64 {
    count as f64
}

fn describe() {
    metrics::describe_gauge!("fanfold_pool_limit", Unit::Count, "Tasks that may run at once");
    metrics::describe_gauge!("fanfold_pool_threads", Unit::Count, "Threads that exist");
    metrics::describe_gauge!("fanfold_pool_busy", Unit::Count, "Workers that run a task or a share of a map");
    metrics::describe_gauge!("fanfold_pool_queued", Unit::Count, "Tasks that wait for a worker");
    metrics::describe_counter!("fanfold_tasks_total", Unit::Count, "Tasks that have ended");
    metrics::describe_counter!("fanfold_maps_total", Unit::Count, "Maps and calls with chunks that have begun");
    metrics::describe_histogram!("fanfold_task_queue_seconds", Unit::Seconds, "How long tasks were queued");
    metrics::describe_histogram!("fanfold_task_run_seconds", Unit::Seconds, "How long tasks ran");
}

/// Publishes the metrics again and again: [`publish_every`] makes it, and dropping it ends that.
#[must_use = "dropping it ends the publishing: keep it, as in `let _publisher = ..`"]
#[derive(Debug)]
pub struct Publisher {
    _entry: Arc<PublishTimer>,
}

/// Calls [`publish`] now and after each interval, on the timer thread, until the [`Publisher`] is dropped.
///
/// # Panics
///
/// If the interval is zero, or if the operating system refuses the timer thread.
pub fn publish_every(interval: Duration) -> Publisher {
    assert!(!interval.is_zero(), "`publish_every` takes an interval longer than zero");
    let entry = Arc::new_cyclic(|this| PublishTimer { this: Weak::clone(this), interval });
    publish();
    entry.schedule();
    Publisher { _entry: entry }
}

#[derive(Debug)]
struct PublishTimer {
    this: Weak<Self>,
    interval: Duration,
}

impl PublishTimer {
    fn schedule(&self) {
        timer::after(self.interval, self.this.clone());
    }
}

impl Expire for PublishTimer {
    fn expire(&self, _: Duration) {
        // First: a recorder that panics does not end the publishing.
        self.schedule();
        publish();
    }
}
