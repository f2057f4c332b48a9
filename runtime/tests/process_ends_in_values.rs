//! Ends of channels and shared values inside values that serde writes.

use std::collections::BTreeMap;
use std::process;

use fanfold::shared::{Counter, Flag, Mutex};
use fanfold::{Bytes, ChannelError, Pool, Receiver, Sender, TaskError, channel, channel_bounded, parallel};
use serde::{Deserialize, Serialize};

fanfold::process_tests!();

static WORKERS: Pool = Pool::process("ends_in_values").threads(2);

#[derive(Serialize, Deserialize)]
struct Job {
    name: String,
    numbers: Receiver<u64>,
    results: Option<Sender<(String, u64)>>,
}

/// Sends the name of a job with each of its numbers; returns their sum.
#[allow(clippy::needless_pass_by_value, reason = "the job's ends close when it returns")]
fn work(job: Job) -> u64 {
    let send = |n| {
        job.results.iter().for_each(|results| results.send((job.name.clone(), n)).expect("it is open"));
        n
    };
    job.numbers.iter().map(send).sum()
}

#[parallel(kind = "process", pool = WORKERS)]
fn run(job: Job) -> (u32, u64) {
    (process::id(), work(job))
}

#[parallel(kind = "process", pool = WORKERS)]
fn run_all(jobs: BTreeMap<String, Vec<Job>>) -> u64 {
    jobs.into_values().flatten().map(work).sum()
}

fn numbers(count: u64) -> Receiver<u64> {
    let (sender, receiver) = channel();
    (0..count).for_each(|n| sender.send(n).expect("it is open"));
    receiver
}

#[test]
fn the_fields_of_a_struct_cross() {
    let (results, received) = channel();
    let job = Job { name: "one".to_owned(), numbers: numbers(5), results: Some(results) };
    let (worker, sum) = run(job);
    assert_ne!(worker, process::id());
    assert_eq!(sum, 10);
    // No process has a sender any more.
    let received: Vec<_> = received.iter().collect();
    assert_eq!(received, (0..5).map(|n| ("one".to_owned(), n)).collect::<Vec<_>>());
}

#[test]
fn items_of_a_map_have_ends() {
    let (results, received) = channel();
    let jobs = (0..20).map(|n| Job { name: n.to_string(), numbers: numbers(n), results: Some(results.clone()) });
    let jobs: Vec<Job> = jobs.collect();
    drop(results);
    let sums: Vec<u64> = run::map(jobs).collect::<Vec<_>>().into_iter().map(|(_, sum)| sum).collect();
    assert!(sums.into_iter().eq((0..20).map(|n| (0..n).sum::<u64>())));
    assert_eq!(received.iter().count(), 190);
}

#[test]
fn containers_of_such_structs_cross() {
    let job = |count| Job { name: String::new(), numbers: numbers(count), results: None };
    let jobs = [("a".to_owned(), vec![job(2), job(3)]), ("b".to_owned(), vec![]), ("c".to_owned(), vec![job(4)])];
    assert_eq!(run_all(BTreeMap::from(jobs)), 1 + 3 + 6);
}

#[parallel(kind = "process", pool = WORKERS)]
fn among_others(first: Sender<u64>, large: Bytes, job: Job, pair: (Receiver<u64>, u64), last: Sender<u64>) -> u64 {
    first.send(large.len() as u64).expect("it is open");
    last.send(pair.0.iter().sum::<u64>() + pair.1).expect("it is open");
    work(job)
}

#[test]
fn attachments_of_other_arguments_keep_their_places() {
    let ((first, firsts), (last, lasts)) = (channel(), channel());
    let large = Bytes::from(vec![7; 1 << 20]);
    let job = Job { name: String::new(), numbers: numbers(4), results: None };
    assert_eq!(among_others(first, large, job, (numbers(3), 100), last), 6);
    assert_eq!(firsts.iter().collect::<Vec<_>>(), [1 << 20]);
    assert_eq!(lasts.iter().collect::<Vec<_>>(), [103]);
}

#[derive(Serialize, Deserialize)]
struct Opened {
    name: String,
    values: Receiver<u64>,
    more: Sender<u64>,
}

#[parallel(kind = "process", pool = WORKERS)]
fn open(count: u64) -> Result<Opened, ChannelError> {
    let (more, values) = channel_bounded(50);
    (0..count).try_for_each(|n| more.send(n))?;
    Ok(Opened { name: format!("{count} values"), values, more })
}

#[test]
fn results_have_ends() {
    for count in [0, 1, 40] {
        let Opened { name, values, more } = open(count).expect("a channel");
        assert_eq!(name, format!("{count} values"));
        more.send(77).expect("it is open");
        drop(more);
        assert!(values.iter().eq((0..count).chain([77])));
    }
}

#[parallel(kind = "process", pool = WORKERS)]
fn run_each(jobs: Receiver<Job>, sums: Sender<u64>) {
    jobs.iter().for_each(|job| sums.send(work(job)).expect("it is open"));
}

#[test]
fn values_of_a_channel_have_ends() {
    let ((jobs, each), (sums, received)) = (channel(), channel());
    let task = run_each::submit(each, sums);
    for count in 0..10 {
        assert!(jobs.send(Job { name: String::new(), numbers: numbers(count), results: None }).is_ok());
    }
    drop(jobs);
    assert!(received.iter().eq((0..10).map(|n| (0..n).sum::<u64>())));
    task.join().expect("no panic");
}

/// What serde can read only when it has seen all of the data.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Numbered { to: Sender<u64>, value: u64 },
    Named { to: Sender<u64>, value: String },
    Internal(Tagged),
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    Plain {
        to: Sender<u64>,
    },
    Flat {
        #[serde(flatten)]
        inner: Inner,
    },
}

#[derive(Serialize, Deserialize)]
struct Inner {
    #[allow(clippy::option_option, reason = "not every format can tell the three apart")]
    deep: Option<Option<Sender<u64>>>,
}

#[parallel(kind = "process", pool = WORKERS)]
fn answer(values: Vec<Untagged>) {
    for value in values {
        let (to, value) = match value {
            Untagged::Numbered { to, value } => (to, value),
            Untagged::Named { to, value } => (to, value.len() as u64),
            Untagged::Internal(Tagged::Plain { to }) => (to, 300),
            Untagged::Internal(Tagged::Flat { inner }) => (inner.deep.flatten().expect("it was there"), 400),
        };
        to.send(value).expect("it is open");
    }
}

#[test]
fn ends_cross_where_serde_must_see_the_data_first() {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..4).map(|_| channel()).unzip();
    let [a, b, c, d] = <[Sender<u64>; 4]>::try_from(senders).expect("there are four");
    answer(vec![
        Untagged::Numbered { to: a, value: 7 },
        // The first variant reads the end as well, and fails at the value.
        Untagged::Named { to: b, value: "two".to_owned() },
        Untagged::Internal(Tagged::Plain { to: c }),
        Untagged::Internal(Tagged::Flat { inner: Inner { deep: Some(Some(d)) } }),
    ]);
    // Each end is closed too, so no duplicate is left.
    let got: Vec<Vec<u64>> = receivers.iter().map(|receiver| receiver.iter().collect()).collect();
    assert_eq!(got, [[7], [3], [300], [400]]);
}

#[derive(Clone, Serialize, Deserialize)]
struct Shared {
    done: Counter,
    stop: Flag,
    names: Mutex<Vec<String>>,
    bytes: fanfold::shared::Bytes,
}

#[parallel(kind = "process", pool = WORKERS)]
fn change(shared: Shared, name: String) -> Result<(), String> {
    shared.done.add(2);
    shared.stop.set();
    shared.bytes.write(1, b"bc");
    shared.names.lock().map_err(|error| error.to_string())?.push(name);
    Ok(())
}

#[test]
fn shared_values_inside_a_struct_are_shared() {
    let bytes = fanfold::shared::Bytes::new(3).expect("three bytes");
    let shared = Shared { done: Counter::new(0), stop: Flag::new(), names: Mutex::new(Vec::new()), bytes };
    for name in ["a", "b"] {
        change(shared.clone(), name.to_owned()).expect("the lock's holders ended well");
    }
    assert_eq!(shared.done.get(), 4);
    assert!(shared.stop.is_set());
    assert_eq!(*shared.names.lock().expect("its holders ended well"), ["a", "b"]);
    assert_eq!(shared.bytes.to_vec(), b"\0bc");
}

#[test]
fn an_end_is_written_for_other_processes_alone() {
    let (sender, receiver) = channel::<u32>();
    let error = serde_json::to_string(&sender).expect_err("it is no data").to_string();
    assert!(error.contains("pass it to a function of `kind = \"process\"`"), "{error}");
    let error = serde_json::from_str::<Receiver<u32>>("[0, 1, []]").map(drop).expect_err("it is no data").to_string();
    assert!(error.contains("pass it to a function of `kind = \"process\"`"), "{error}");
    // The channel is as it was.
    sender.send(1).expect("it is open");
    assert_eq!(receiver.recv(), Ok(1));
}

#[derive(Serialize, Deserialize)]
struct Refused {
    numbers: Receiver<u64>,
    #[serde(serialize_with = "refuse")]
    last: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that `serialize_with` requires")]
fn refuse<S: serde::Serializer>(_: &u64, _: S) -> Result<S::Ok, S::Error> {
    Err(serde::ser::Error::custom("this one stays"))
}

#[parallel(kind = "process", pool = WORKERS)]
fn never(refused: Refused) -> u64 {
    refused.numbers.iter().sum::<u64>() + refused.last
}

#[test]
fn an_end_in_a_value_that_cannot_be_written_stays_open() {
    let (sender, numbers) = channel();
    sender.send(1).expect("it is open");
    let error = never::submit(Refused { numbers: numbers.clone(), last: 0 }).join().expect_err("it is refused");
    assert!(matches!(&error, TaskError::Wire { .. }) && error.to_string().contains("this one stays"), "{error}");
    sender.send(2).expect("it is open");
    drop(sender);
    assert_eq!(numbers.iter().collect::<Vec<_>>(), [1, 2]);
}

#[parallel(kind = "process", pool = WORKERS)]
fn count_ends(ends: Vec<(u8, Sender<u8>)>) -> usize {
    ends.len()
}

#[test]
fn too_many_ends_are_refused_in_words() {
    let ends = |count| (0..count).map(|n| (n, channel().0)).collect::<Vec<_>>();
    assert_eq!(count_ends(ends(100)), 100);
    let error = count_ends::submit(ends(201)).join().expect_err("they are too many").to_string();
    assert!(error.contains("ends of channels and shared values"), "{error}");
}

#[derive(Serialize, Deserialize)]
#[serde(bound = "T: fanfold::Wire")]
struct Generic<T> {
    values: Receiver<T>,
    /// A channel of values that have ends of such channels.
    next: Option<Sender<Generic<T>>>,
}

#[parallel(kind = "process", pool = WORKERS)]
fn pass_on(first: Generic<u64>) {
    let Generic { values, next } = first;
    if let Some(next) = next {
        assert!(next.send(Generic { values, next: None }).is_ok());
    }
}

#[test]
fn generic_and_recursive_types_have_ends() {
    let (next, passed) = channel();
    pass_on(Generic { values: numbers(3), next: Some(next) });
    let passed: Vec<Generic<u64>> = passed.iter().collect();
    let [Generic { values, next: None }] = &passed[..] else { panic!("one was passed on") };
    assert!(values.iter().eq(0..3));
}

/// A value whose writing panics.
#[derive(Deserialize)]
struct Panics(String);

impl Serialize for Panics {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("{} cannot be written", self.0)
    }
}

static ONE: Pool = Pool::process("one").threads(1);

#[parallel(kind = "process", pool = ONE)]
fn length(bytes: Bytes, _: Vec<Panics>) -> (usize, u32) {
    (bytes.len(), process::id())
}

/// A parent makes 1,024 segments at most for a worker, which it replaces then.
#[test]
fn a_panic_while_a_value_is_written_frees_the_segments_before_it() {
    let bytes = Bytes::from(vec![1; 100_000]);
    let before = length(bytes.clone(), vec![]);
    for _ in 0..2 * 1_024 {
        let error = length::submit(bytes.clone(), vec![Panics("it".to_owned())]).join().unwrap_err();
        assert!(matches!(&error, TaskError::Wire { .. }), "{error}");
    }
    assert_eq!(length(bytes, vec![]), before, "the same worker");
}
