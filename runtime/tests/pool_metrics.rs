//! The metrics that a recorder of the crate `metrics` gets. One test: a program has one recorder.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fanfold::Pool;
use fanfold::metrics::{metrics, publish, publish_every};
use metrics::{Counter, CounterFn, Gauge, GaugeFn, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};

/// The sum of each counter and histogram, and the last value of each gauge, by name and labels.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<BTreeMap<String, f64>>>);

/// One metric.
struct Entry(Kept, String);

impl Entry {
    fn new(kept: &Kept, key: &Key) -> Arc<Self> {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        Arc::new(Self(kept.clone(), format!("{} {}", key.name(), labels.join(" "))))
    }

    fn add(&self, value: f64) {
        *self.0.0.lock().expect("no panic").entry(self.1.clone()).or_default() += value;
    }
}

#[allow(clippy::cast_precision_loss, reason = "small counts")]
impl CounterFn for Entry {
    fn increment(&self, value: u64) {
        self.add(value as f64);
    }
    fn absolute(&self, _: u64) {
        unreachable!("only increments are passed on");
    }
}

impl GaugeFn for Entry {
    fn increment(&self, _: f64) {}
    fn decrement(&self, _: f64) {}
    fn set(&self, value: f64) {
        self.0.0.lock().expect("no panic").insert(self.1.clone(), value);
    }
}

impl HistogramFn for Entry {
    fn record(&self, value: f64) {
        assert!((0.0..60.0).contains(&value), "{value} s");
        self.add(1.0);
    }
}

impl Recorder for Kept {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
        // A recorder may call this crate, and `publish` too.
        publish();
    }
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Entry::new(self, key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Entry::new(self, key))
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> metrics::Histogram {
        metrics::Histogram::from_arc(Entry::new(self, key))
    }
}

#[test]
fn a_recorder_gets_each_count_once() {
    let kept = Kept::default();
    metrics::set_global_recorder(kept.clone()).expect("the first recorder");
    let value = |name: &str| kept.0.lock().expect("no panic").get(name).copied();
    fanfold::configure().task_times(true).apply().expect("it can be set at any time");
    let pool = Pool::io("measured").threads(2).build().expect("a thread starts");
    (0..5).for_each(|n| pool.submit(move || n).join().map(drop).expect("it returns"));
    pool.submit(|| panic!("it fails")).join().expect_err("it panics");
    assert_eq!(pool.map(0..4, |n| n).sum::<u64>(), 6);
    for _ in 0..2 {
        publish();
        assert_eq!(value("fanfold_tasks_total pool=measured kind=io outcome=done"), Some(5.0));
        assert_eq!(value("fanfold_tasks_total pool=measured kind=io outcome=failed"), Some(1.0));
        assert_eq!(value("fanfold_tasks_total pool=measured kind=io outcome=cancelled"), Some(0.0));
        assert_eq!(value("fanfold_maps_total pool=measured kind=io"), Some(1.0));
        assert_eq!(value("fanfold_task_run_seconds pool=measured kind=io"), Some(6.0));
        assert_eq!(value("fanfold_task_queue_seconds pool=measured kind=io"), Some(6.0));
        assert_eq!(value("fanfold_pool_limit pool=measured kind=io"), Some(2.0));
        assert_eq!(value("fanfold_pool_queued pool=measured kind=io"), Some(0.0));
    }
    // A second pool of the same name and kind is added up.
    let twin = Pool::io("measured").threads(3).build().expect("a thread starts");
    twin.submit(|| ()).join().expect("it returns");
    let publisher = publish_every(Duration::from_millis(1));
    assert_eq!(value("fanfold_pool_limit pool=measured kind=io"), Some(5.0));
    assert_eq!(value("fanfold_tasks_total pool=measured kind=io outcome=done"), Some(6.0));
    twin.submit(|| ()).join().expect("it returns");
    let waits = std::time::Instant::now();
    while value("fanfold_tasks_total pool=measured kind=io outcome=done") != Some(7.0) {
        assert!(waits.elapsed() < Duration::from_secs(20), "the timer publishes");
        std::thread::yield_now();
    }
    drop(publisher);
    let refused = std::panic::catch_unwind(|| publish_every(Duration::ZERO)).expect_err("no interval");
    assert!(refused.downcast_ref::<&str>().is_some_and(|text| text.contains("longer than zero")));
}
