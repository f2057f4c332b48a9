//! Channels that begin between threads and cross to worker processes later, with values in them.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use fanfold::shared::Flag;
use fanfold::{
    ChannelError, Pool, Receiver, Sender, TaskError, channel, channel_bounded, parallel, select, select_async,
    select_timeout,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

fanfold::process_tests!();

/// Longer than any slow machine needs; reaching it means that the test hangs.
const LONG: Duration = Duration::from_secs(60);

static FOUR: Pool = Pool::process("crossings").threads(4);

#[parallel(kind = "process", pool = FOUR)]
fn collect(values: Receiver<u64>) -> Vec<u64> {
    values.into_iter().collect()
}

#[parallel(kind = "process", pool = FOUR)]
fn take(values: Receiver<u64>, count: usize) -> Vec<u64> {
    values.iter().take(count).collect()
}

#[parallel(kind = "process", pool = FOUR)]
fn lengths(values: Receiver<Vec<u8>>) -> Vec<usize> {
    values.iter().map(|value| value.len()).collect()
}

#[parallel(kind = "process", pool = FOUR)]
fn send_all(values: Sender<u64>, from: u64, to: u64) -> Result<(), ChannelError> {
    (from..to).try_for_each(|n| Ok(values.send(n)?))
}

/// The end goes to a worker process and back, which leaves the channel with sockets.
#[parallel(kind = "process", pool = FOUR)]
fn pass_sender(values: Sender<u64>) -> Sender<u64> {
    values
}

#[parallel(kind = "process", pool = FOUR)]
fn pass_receiver(values: Receiver<u64>) -> Receiver<u64> {
    values
}

/// A channel with the values `0..count` in memory, and room for more.
fn filled(count: u64) -> (Sender<u64>, Receiver<u64>) {
    let (sender, receiver) = channel_bounded(usize::try_from(count).expect("it is small") + 1_000);
    (0..count).for_each(|n| sender.send(n).expect("there is a place"));
    (sender, receiver)
}

/// Sends until no process has the receiver. One that is just being started has it until it executes its program.
fn send_until_closed<T: Send>(sender: &Sender<T>, value: impl Fn() -> T) {
    let begun = Instant::now();
    let error = loop {
        assert!(begun.elapsed() < LONG, "it is open");
        match sender.send_timeout(value(), LONG) {
            Ok(()) => thread::yield_now(),
            Err(unsent) => break unsent.error,
        }
    };
    assert_eq!(error, ChannelError::Closed);
}

fn poll_once<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn values_in_memory_cross_with_the_receiver() {
    // Some fit into the new socket, and more do not.
    for count in [0, 1, 100, 10_000] {
        let (sender, receiver) = filled(count);
        drop(sender);
        assert!(collect(receiver).into_iter().eq(0..count), "{count}");
    }
}

#[test]
fn values_cross_though_no_sender_sends_again() {
    let (sender, receiver) = filled(5_000);
    assert!(take(receiver, 5_000).into_iter().eq(0..5_000));
    send_until_closed(&sender, || 1);
}

#[test]
fn later_values_come_after_those_in_memory() {
    for count in [10, 2_000] {
        let (sender, receiver) = filled(count);
        let collected = collect::submit(receiver);
        (count..count + 2_000).for_each(|n| sender.send(n).expect("it is open"));
        drop(sender);
        assert!(collected.join().expect("no panic").into_iter().eq(0..count + 2_000));
    }
}

#[test]
fn large_values_cross_one_after_the_other() {
    let (sender, receiver) = channel();
    let sizes = [1 << 20, 10, 70_000, 1 << 20, 0, 200_000, 60_000, 60_000, 60_000, 60_000, 60_000, 1 << 20];
    sizes.iter().for_each(|size| sender.send(vec![7; *size]).expect("there is a place"));
    drop(sender);
    assert_eq!(lengths(receiver), sizes);
}

#[test]
fn receivers_here_take_what_is_in_memory_before_what_a_process_sends() {
    for count in [0, 3, 1_000] {
        let (sender, receiver) = filled(count);
        let sent = send_all::submit(sender, count, count + 500);
        assert!(receiver.iter().eq(0..count + 500));
        assert_eq!(sent.join().expect("no panic"), Ok(()));
    }
}

#[test]
fn a_receiver_that_crosses_after_a_sender_brings_what_is_in_memory_first() {
    for count in [1, 100, 3_000] {
        let (sender, receiver) = filled(count);
        // They lie in the socket when the receiver crosses.
        assert_eq!(send_all(sender.clone(), count, count + 10), Ok(()));
        let here = receiver.clone();
        let collected = take::submit(receiver, 5).join().expect("no panic");
        assert!(collected.iter().copied().eq(0..5));
        assert_eq!(send_all(sender, count + 10, count + 20), Ok(()));
        assert!(here.iter().eq(5..count + 20), "{count}");
    }
}

#[test]
fn a_sender_that_crosses_after_a_receiver_sends_behind_what_was_in_memory() {
    let (sender, receiver) = filled(3_000);
    let (first, second) = (receiver.clone(), pass_receiver(receiver));
    // The worker's values do not wait for those in memory to be received.
    assert_eq!(send_all(sender.clone(), 3_000, 3_100), Ok(()));
    drop(sender);
    // Both read the same two sockets.
    let values: Vec<u64> =
        (0..1_550).flat_map(|_| [first.recv(), second.recv()]).map(|n| n.expect("it is open")).collect();
    assert!(values.into_iter().eq(0..3_100));
    assert_eq!((first.recv(), second.try_recv()), (Err(ChannelError::Closed), Err(ChannelError::Closed)));
}

#[test]
fn each_value_goes_to_one_of_the_receivers_here_and_there() {
    let (sender, receiver) = filled(8_000);
    let there = [collect::submit(receiver.clone()), collect::submit(receiver.clone())];
    let here = thread::spawn(move || receiver.iter().collect::<Vec<_>>());
    (8_000..9_000).for_each(|n| sender.send(n).expect("it is open"));
    drop(sender);
    let mut lists = there.map(|task| task.join().expect("no panic")).to_vec();
    lists.push(here.join().expect("no panic"));
    assert!(lists.iter().all(|list| list.is_sorted()), "each receiver gets them in order");
    let mut all = lists.concat();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..9_000));
}

#[test]
fn a_channel_that_was_closed_before_crosses_as_closed() {
    for closes in [Sender::close as fn(&Sender<u64>), |_| {}] {
        let (sender, receiver) = filled(1_000);
        closes(&sender);
        drop(sender);
        assert!(collect(receiver).into_iter().eq(0..1_000));
    }
    let (sender, receiver) = filled(2);
    receiver.close();
    assert_eq!(send_all(sender, 0, 1), Err(ChannelError::Closed));
    assert!(receiver.iter().eq(0..2));
    let (sender, receiver) = filled(2);
    drop(receiver);
    assert_eq!(send_all(sender, 0, 1), Err(ChannelError::Closed));
}

#[test]
fn a_close_after_the_crossing_leaves_all_values() {
    let (sender, receiver) = filled(3_000);
    let here = receiver.clone();
    let collected = take::submit(receiver, 10).join().expect("no panic");
    assert!(collected.into_iter().eq(0..10));
    here.close();
    assert_eq!(sender.send(1).map_err(ChannelError::from), Err(ChannelError::Closed));
    assert!(here.iter().eq(10..3_000));
}

#[test]
fn dropped_receivers_end_what_is_on_its_way() {
    /// Crosses as a number.
    struct Counted(u64, #[allow(dead_code, reason = "it is dropped")] Arc<()>);
    impl Serialize for Counted {
        fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            self.0.serialize(to)
        }
    }
    impl<'de> Deserialize<'de> for Counted {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            u64::deserialize(from).map(|n| Self(n, Arc::default()))
        }
    }
    #[parallel(kind = "process", pool = FOUR)]
    fn first(values: Receiver<Counted>) -> u64 {
        values.recv().map_or(0, |counted| counted.0)
    }
    let alive = Arc::new(());
    let (sender, receiver) = channel_bounded(5_000);
    (1..=5_000).for_each(|n| sender.send(Counted(n, Arc::clone(&alive))).expect("there is a place"));
    assert_eq!(first(receiver), 1);
    send_until_closed(&sender, || Counted(0, Arc::default()));
    // Their serialized forms crossed, and the values were dropped.
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn those_who_wait_go_on_with_the_socket() {
    let (sender, receiver) = channel::<u64>();
    thread::scope(|scope| {
        let blocked = scope.spawn(|| receiver.recv());
        let limited = scope.spawn(|| receiver.recv_timeout(LONG));
        let task = scope.spawn(|| pollster::block_on(receiver.recv_async()));
        let selects = scope.spawn(|| {
            let _ = select(&[&receiver]);
            receiver.recv()
        });
        let selects_task = scope.spawn(|| {
            assert_eq!(pollster::block_on(select_async(&[&receiver])), 0);
            receiver.recv()
        });
        assert_eq!(send_all(sender, 0, 5), Ok(()));
        let received = [blocked, limited, task, selects, selects_task].map(|waits| waits.join().expect("no panic"));
        let mut received = received.map(|value| value.expect("there was one for each"));
        received.sort_unstable();
        assert_eq!(received, [0, 1, 2, 3, 4]);
    });
    assert_eq!(receiver.recv(), Err(ChannelError::Closed));

    let (sender, receiver) = channel_bounded(1);
    sender.send(0).expect("there is a place");
    let sent = thread::scope(|scope| {
        let blocked = scope.spawn(|| sender.send(1));
        let limited = scope.spawn(|| sender.send_timeout(2, LONG));
        let task = scope.spawn(|| pollster::block_on(sender.send_async(3)));
        let mut taken = take(receiver, 4);
        taken[1..].sort_unstable();
        assert_eq!(taken, [0, 1, 2, 3]);
        [blocked, limited, task].map(|waits| waits.join().expect("no panic"))
    });
    assert_eq!(sent, [Ok(()), Ok(()), Ok(())]);
}

#[test]
fn a_capacity_counts_what_was_in_memory() {
    let (sender, receiver) = channel_bounded(5);
    (0..3).for_each(|n| sender.send(n).expect("there is a place"));
    for (sender, receiver) in [(sender.clone(), pass_receiver(receiver.clone())), (pass_sender(sender), receiver)] {
        (3..5).for_each(|n| sender.try_send(n).expect("there is a place"));
        assert_eq!(sender.try_send(5).map_err(ChannelError::from), Err(ChannelError::Full));
        assert!(poll_once(pin!(sender.send_async(5))).is_pending());
        assert!(receiver.iter().take(5).eq(0..5));
        (0..3).for_each(|n| sender.send(n).expect("there is a place"));
    }
}

#[test]
fn a_sender_that_crosses_leaves_the_places_of_values_in_memory() {
    let (sender, receiver) = channel_bounded(4);
    (0..4).for_each(|n| sender.send(n).expect("there is a place"));
    let there = pass_sender(sender.clone());
    for sender in [&sender, &there] {
        assert_eq!(sender.try_send(9).map_err(ChannelError::from), Err(ChannelError::Full));
    }
    assert_eq!(receiver.recv(), Ok(0));
    there.try_send(4).expect("the place is free");
    assert_eq!(sender.try_send(9).map_err(ChannelError::from), Err(ChannelError::Full));
    assert!(receiver.iter().take(4).eq(1..5));
    (0..4).for_each(|n| sender.try_send(n).expect("all places are free"));
    assert_eq!(there.try_send(9).map_err(ChannelError::from), Err(ChannelError::Full));
}

#[test]
fn a_large_capacity_holds_in_memory_and_what_sockets_hold_between_processes() {
    let (sender, receiver) = channel_bounded(10_000);
    (0..10_000).for_each(|n| sender.try_send(n).expect("there is a place"));
    assert_eq!(sender.try_send(0).map_err(ChannelError::from), Err(ChannelError::Full));
    let receiver = pass_receiver(receiver);
    assert_eq!(sender.try_send(0).map_err(ChannelError::from), Err(ChannelError::Full));
    assert!(receiver.iter().take(10_000).eq(0..10_000));
    // Some hundred, and not more than was asked for.
    let held = (0..20_000).find(|n| sender.try_send(*n).is_err()).expect("it is full at some time");
    assert!((100..=10_000).contains(&held), "{held}");
    assert!(receiver.iter().take(usize::try_from(held).expect("it is small")).eq(0..held));
}

#[test]
fn a_socket_that_has_ended_is_no_value() {
    let (sender, receiver) = filled(1_000);
    let receiver = pass_receiver(receiver);
    let (_other, others) = channel::<u64>();
    let mut received = Vec::new();
    while received.len() < 1_000 {
        assert_eq!(select(&[&others, &receiver]), 1);
        received.extend(receiver.try_recv().expect("it is open"));
    }
    assert!(received.into_iter().eq(0..1_000));
    assert_eq!(receiver.try_recv(), Ok(None));
    assert_eq!(select_timeout(&[&others, &receiver], Duration::from_millis(5)), None);
    sender.send(7).expect("it is open");
    assert_eq!(pollster::block_on(receiver.recv_async()), Ok(7));
    drop(sender);
    assert_eq!(receiver.recv_timeout(LONG), Err(ChannelError::Closed));
}

/// What serde refuses, or panics at, if it must be written.
#[derive(Debug, PartialEq, Clone, Copy, Deserialize)]
enum Number {
    Plain(u64),
    Unwritable,
    Panics,
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        enum Number {
            Plain(u64),
        }
        match *self {
            Self::Plain(n) => Number::Plain(n).serialize(serializer),
            Self::Unwritable => Err(serde::ser::Error::custom("this one stays")),
            Self::Panics => panic!("this one panics"),
        }
    }
}

#[parallel(kind = "process", pool = FOUR)]
fn count_numbers(values: Receiver<Number>) -> Result<usize, TaskError> {
    Ok(values.iter().count())
}

#[test]
fn a_crossing_that_fails_leaves_all_values_here() {
    for (bad, words) in [(Number::Unwritable, "this one stays"), (Number::Panics, "this one panics")] {
        let (sender, receiver) = channel_bounded(2_000);
        // They do not fit into the socket, so some are on their way already when one fails.
        (0..1_000).for_each(|n| sender.send(Number::Plain(n)).expect("there is a place"));
        sender.send(bad).expect("there is a place");
        for _ in 0..2 {
            let error = count_numbers(receiver.clone()).expect_err("one cannot be sent").to_string();
            assert!(error.contains("arguments could not be sent") && error.contains(words), "{error}");
        }
        // The channel works on, between threads.
        sender.send(Number::Plain(1_000)).expect("there is a place");
        sender.send(bad).expect("there is a place");
        for n in 0..1_000 {
            assert_eq!(receiver.recv(), Ok(Number::Plain(n)));
        }
        assert_eq!(receiver.recv(), Ok(bad));
        assert_eq!(receiver.recv(), Ok(Number::Plain(1_000)));
        assert_eq!(receiver.try_recv(), Ok(Some(bad)));
        // Once it is gone, the receiver crosses.
        sender.send(Number::Plain(1)).expect("there is a place");
        let counted = count_numbers::submit(receiver);
        assert_eq!(sender.send(Number::Plain(2)), Ok(()));
        drop(sender);
        assert_eq!(counted.join().expect("no panic").expect("it crossed"), 2);
    }
}

/// The receiver of a channel, and where to send what it got.
type HeldReceiver = Option<(Receiver<Held>, Sender<u64>)>;

/// Sends an end of its own channel to a process while it is written. Crosses as a number.
struct Held {
    number: u64,
    ends: Option<(Sender<Held>, HeldReceiver)>,
}

impl Held {
    fn new(number: u64) -> Self {
        Self { number, ends: None }
    }
}

impl Serialize for Held {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if let Some((sender, receiver)) = &self.ends {
            send_held(sender.clone(), 10).map_err(serde::ser::Error::custom)?;
            if let Some((receiver, results)) = receiver {
                sum_held(receiver.clone(), results.clone());
            }
        }
        self.number.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Held {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        u64::deserialize(from).map(Self::new)
    }
}

#[parallel(kind = "process", pool = FOUR)]
fn send_held(values: Sender<Held>, number: u64) -> Result<(), TaskError> {
    values.send(Held::new(number)).expect("it is open");
    Ok(())
}

#[parallel(kind = "process", pool = FOUR)]
fn take_held(values: Receiver<Held>, count: usize) -> Result<Vec<u64>, TaskError> {
    Ok(values.iter().take(count).map(|held| held.number).collect())
}

#[test]
fn a_value_may_send_its_channel_to_a_process_while_it_moves() {
    let (sender, receiver) = channel();
    for number in 0..2 {
        let held = Held { number, ends: Some((sender.clone(), None)) };
        assert!(sender.send(held).is_ok());
    }
    // What the processes sent meanwhile comes after what was in memory.
    assert_eq!(take_held(receiver.clone(), 4).expect("it crosses"), [0, 1, 10, 10]);
    assert!(sender.send(Held::new(2)).is_ok());
    assert_eq!(receiver.recv().map(|held| held.number), Ok(2));
}

/// Reads on when the caller is told.
#[parallel(kind = "process", pool = FOUR)]
fn sum_held(values: Receiver<Held>, results: Sender<u64>) {
    thread::spawn(move || results.send(values.iter().take(1).map(|held| held.number).sum()));
}

#[test]
fn a_value_may_send_its_own_receiver_to_a_process_while_it_moves() {
    let ((sender, receiver), (results, sums)) = (channel(), channel());
    assert!(sender.send(Held::new(0)).is_ok());
    let held = Held { number: 1, ends: Some((sender.clone(), Some((receiver.clone(), results)))) };
    assert!(sender.send(held).is_ok());
    // One of the three values goes to each receiver.
    let taken = take_held(receiver.clone(), 1).expect("it crosses");
    let sum = sums.recv().expect("the other process has one");
    let left = receiver.recv().map(|held| held.number).expect("one is left");
    assert_eq!(taken[0] + sum + left, 11);
}

/// Waits to be written until it is told to go on.
struct Slow(u64, Option<mpsc::Sender<()>>, Option<Mutex<mpsc::Receiver<()>>>);

impl Serialize for Slow {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.1.iter().for_each(|begins| begins.send(()).expect("the test waits"));
        self.2.iter().for_each(|go_on| go_on.lock().expect("no panic").recv().expect("the test goes on"));
        if self.0 == 0 { Err(serde::ser::Error::custom("it is nothing")) } else { self.0.serialize(to) }
    }
}

impl<'de> Deserialize<'de> for Slow {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        u64::deserialize(from).map(|n| Self(n, None, None))
    }
}

#[parallel(kind = "process", pool = FOUR)]
fn take_slow(values: Receiver<Slow>) -> Result<u64, TaskError> {
    Ok(values.recv().expect("there is one for each").0)
}

#[parallel(kind = "process", pool = FOUR)]
fn pass_slow(values: Receiver<Slow>) -> Receiver<Slow> {
    values
}

#[parallel(kind = "process", pool = FOUR)]
fn send_slow(values: Sender<Slow>, number: u64) {
    values.send(Slow(number, None, None)).expect("it is open");
}

#[test]
fn other_ends_cross_while_values_move() {
    let ((begins, begun), (go_on, wait)) = (mpsc::channel(), mpsc::channel());
    let (sender, receiver) = channel();
    assert!(sender.send(Slow(1, Some(begins), Some(Mutex::new(wait)))).is_ok());
    thread::scope(|scope| {
        let first = scope.spawn(|| take_slow(receiver.clone()));
        begun.recv().expect("it is written");
        // A sender waits for nothing, and another receiver for the values.
        send_slow(sender.clone(), 2);
        let second = scope.spawn(|| take_slow(receiver.clone()));
        go_on.send(()).expect("it is written");
        let mut taken = [first, second].map(|taken| taken.join().expect("no panic").expect("it crosses"));
        taken.sort_unstable();
        assert_eq!(taken, [1, 2]);
    });
}

#[test]
fn a_receiver_that_crosses_with_values_that_stay_reads_on_behind_them() {
    let ((begins, begun), (go_on, wait)) = (mpsc::channel(), mpsc::channel());
    let (sender, receiver) = channel();
    assert!(sender.send(Slow(0, Some(begins), Some(Mutex::new(wait)))).is_ok());
    let there = thread::scope(|scope| {
        let first = scope.spawn(|| take_slow(receiver.clone()));
        begun.recv().expect("it is written");
        let there = pass_slow(receiver.clone());
        go_on.send(()).expect("it is written");
        let error = first.join().expect("no panic").expect_err("it cannot be written").to_string();
        assert!(error.contains("it is nothing"), "{error}");
        there
    });
    send_slow(sender.clone(), 2);
    assert_eq!(there.recv().map(|slow| slow.0), Ok(2));
    assert_eq!(receiver.recv().map(|slow| slow.0), Ok(0));
    drop(sender);
    assert_eq!(there.recv().map(|slow| slow.0), Err(ChannelError::Closed));
}

#[parallel(kind = "process", pool = FOUR)]
fn pass_numbers(values: Receiver<Number>) -> Receiver<Number> {
    values
}

#[test]
fn a_value_that_cannot_be_written_comes_back_once_the_channel_has_crossed() {
    let (sender, receiver) = channel();
    let receiver = pass_numbers(receiver);
    sender.send(Number::Plain(1)).expect("it is open");
    let unsent = sender.send(Number::Unwritable).expect_err("it cannot cross");
    assert_eq!(unsent.value, Number::Unwritable);
    match unsent.error {
        ChannelError::Wire { message, .. } => assert!(message.contains("this one stays"), "{message}"),
        other => panic!("{other}"),
    }
    sender.send(Number::Plain(2)).expect("it is open");
    assert_eq!((receiver.recv(), receiver.recv()), (Ok(Number::Plain(1)), Ok(Number::Plain(2))));
}

#[parallel(kind = "process", pool = FOUR, retries = 1)]
fn dies_once(values: Receiver<u64>, has_died: Flag) -> Result<Vec<u64>, TaskError> {
    if !has_died.is_set() {
        has_died.set();
        std::process::abort();
    }
    Ok(values.iter().collect())
}

#[test]
fn a_retry_gets_the_same_end() {
    let (sender, receiver) = filled(2_000);
    drop(sender);
    assert!(dies_once(receiver, Flag::new()).expect("the second try ends").into_iter().eq(0..2_000));
}

#[parallel(kind = "process", pool = FOUR)]
fn collect_from_each(receivers: Receiver<Receiver<u64>>, total: Receiver<Sender<u64>>) -> usize {
    let mut count = 0;
    for (values, total) in receivers.iter().zip(total.iter()) {
        total.send(values.iter().sum()).expect("the test listens");
        count += 1;
    }
    count
}

#[test]
fn ends_cross_inside_values_of_other_channels() {
    // Ten before the channels of channels cross, ten after that.
    let ((receivers, their_receivers), (totals, their_totals)) = (channel(), channel());
    let mut answers = Vec::new();
    let mut add = |count: u64| {
        let ((sender, receiver), (total, answer)) = (filled(count), channel_bounded(1));
        receivers.send(receiver).expect("it is open");
        totals.send(total).expect("it is open");
        sender.send(1).expect("it is open");
        answers.push((count, answer));
    };
    (0..10).for_each(|n| add(n * n * 10));
    let counted = collect_from_each::submit(their_receivers, their_totals);
    (0..10).for_each(|n| add(n * n * 10));
    for (count, answer) in answers {
        assert_eq!(answer.recv_timeout(LONG), Ok((0..count).sum::<u64>() + 1));
        assert_eq!(answer.recv_timeout(LONG), Err(ChannelError::Closed));
    }
    drop((receivers, totals));
    assert_eq!(counted.join().expect("no panic"), 20);
}

static SHORT_LIVED: Pool = Pool::process("short_lived").threads(1).max_tasks_per_worker(1);

#[parallel(kind = "process", pool = SHORT_LIVED)]
fn leave(count: u64) -> Receiver<u64> {
    let (sender, receiver) = filled(count);
    thread::spawn(move || drop(sender)).join().expect("no panic");
    receiver
}

#[test]
fn values_outlive_the_worker_that_sent_them() {
    let receiver = leave(1_000);
    // The next call needs another worker. The one before exits once its values are received.
    let next = leave::submit(10);
    assert!(receiver.iter().eq(0..1_000));
    assert!(next.join().expect("no panic").iter().eq(0..10));
}

static KILLED: Pool = Pool::process("killed_with_values").threads(1);

#[parallel(kind = "process", pool = KILLED)]
fn leave_with_it(count: u64) -> Receiver<u64> {
    filled(count).1
}

#[parallel(kind = "process", pool = KILLED)]
fn abort() -> Result<(), TaskError> {
    std::process::abort()
}

#[test]
fn values_that_are_lost_with_their_process_are_an_error() {
    let receiver = leave_with_it(5_000);
    let there = receiver.clone();
    assert!(abort().is_err());
    let mut received = 0;
    let error = loop {
        match receiver.recv() {
            Ok(n) => assert_eq!(n, received),
            Err(error) => break error,
        }
        received += 1;
    };
    assert!((1..5_000).contains(&received), "{received}");
    assert!(matches!(error, ChannelError::System { .. }) && error.to_string().contains("has ended before"), "{error}");
    assert_eq!(receiver.recv(), Err(ChannelError::Closed));
    assert_eq!(there.recv(), Err(ChannelError::Closed));
}

#[parallel(kind = "process", pool = FOUR)]
fn sum_here_and_in_threads(values: Receiver<u64>) -> u64 {
    // In a worker the end is cloned as anywhere.
    let threads: Vec<_> =
        (0..3).map(|_| values.clone()).map(|values| thread::spawn(move || values.iter().sum::<u64>())).collect();
    let here: u64 = values.iter().sum();
    here + threads.into_iter().map(|thread| thread.join().expect("no panic")).sum::<u64>()
}

#[test]
fn an_end_in_a_worker_is_shared_by_its_threads() {
    let (sender, receiver) = filled(3_000);
    let summed = sum_here_and_in_threads::submit(receiver);
    (0..2_000).for_each(|n| sender.send(n).expect("it is open"));
    drop(sender);
    assert_eq!(summed.join().expect("no panic"), (0..3_000).sum::<u64>() + (0..2_000).sum::<u64>());
}

// A pool for each side, as they wait for one another.
static TALLIES: Pool = Pool::process("crossing_receivers").threads(4);
static SENDERS: Pool = Pool::process("crossing_senders").threads(4);

/// A value, the number of its sender, and its place among those of that sender.
type Tagged = (u32, u64);

#[derive(Debug, Default, Serialize, Deserialize)]
struct Tally {
    count: u64,
    sum: u64,
    next: HashMap<u32, u64>,
}

fn tally(values: &Receiver<Tagged>, most: usize) -> Tally {
    let mut tally = Tally::default();
    for (sender, n) in values.iter().take(most) {
        let next = tally.next.entry(sender).or_default();
        assert!(n >= *next, "{n} of {sender} comes after {next}");
        *next = n + 1;
        tally.count += 1;
        tally.sum += n;
    }
    tally
}

#[parallel(kind = "process", pool = TALLIES)]
fn tally_there(values: Receiver<Tagged>, most: usize) -> Tally {
    tally(&values, most)
}

#[parallel(kind = "process", pool = SENDERS)]
fn send_from_there(values: Sender<Tagged>, sender: u32, count: u64) -> Result<(), ChannelError> {
    (0..count).try_for_each(|n| Ok(values.send((sender, n))?))
}

/// Four threads send and four receive, while ends cross.
fn send_and_cross((sender, receiver): (Sender<Tagged>, Receiver<Tagged>), receiver_first: bool) {
    const COUNT: u64 = 3_000;
    let (senders, tallies) = thread::scope(|scope| {
        let here: Vec<_> = (0..4)
            .map(|id| {
                let sender = sender.clone();
                scope.spawn(move || (0..COUNT).for_each(|n| sender.send((id, n)).expect("it is open")))
            })
            .collect();
        let received: Vec<_> = (0..4)
            .map(|_| {
                let receiver = receiver.clone();
                scope.spawn(move || tally(&receiver, usize::MAX))
            })
            .collect();
        let mut there = Vec::new();
        let mut sent = Vec::new();
        for round in 0..4 {
            for crosses_receiver in [receiver_first, !receiver_first] {
                if crosses_receiver {
                    there.push(tally_there::submit(receiver.clone(), if round == 3 { usize::MAX } else { 300 }));
                } else {
                    sent.push(send_from_there::submit(sender.clone(), 10 + round, COUNT));
                }
            }
            if round == 1 {
                sent.drain(..).for_each(|task| assert_eq!(task.join().expect("no panic"), Ok(())));
            }
        }
        drop((sender, receiver));
        let senders = 4 + 4;
        here.into_iter().for_each(|thread| thread.join().expect("no panic"));
        sent.into_iter().for_each(|task| assert_eq!(task.join().expect("no panic"), Ok(())));
        let mut tallies: Vec<Tally> = received.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        tallies.extend(there.into_iter().map(|task| task.join().expect("no panic")));
        (senders, tallies)
    });
    assert_eq!(tallies.iter().map(|tally| tally.count).sum::<u64>(), senders * COUNT);
    assert_eq!(tallies.iter().map(|tally| tally.sum).sum::<u64>(), senders * (0..COUNT).sum::<u64>());
}

#[test]
fn nothing_is_lost_or_overtaken_while_ends_cross() {
    for receiver_first in [true, false] {
        send_and_cross(channel(), receiver_first);
        send_and_cross(channel_bounded(3), receiver_first);
        send_and_cross(channel_bounded(5_000), receiver_first);
    }
}

/// Wakes a thread, as an executor does.
struct Unparks(thread::Thread);

impl Wake for Unparks {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[test]
fn a_future_that_began_in_memory_ends_with_the_socket() {
    let waker = Waker::from(Arc::new(Unparks(thread::current())));
    let mut context = Context::from_waker(&waker);
    let (sender, receiver) = channel_bounded(1);
    sender.send(1).expect("there is a place");
    let mut sends = pin!(sender.send_async(2));
    assert!(sends.as_mut().poll(&mut context).is_pending());
    let receiver = pass_receiver(receiver);
    assert!(sends.as_mut().poll(&mut context).is_pending(), "the place is still taken");
    assert_eq!(receiver.recv(), Ok(1));
    let begun = Instant::now();
    while sends.as_mut().poll(&mut context).is_pending() {
        thread::park_timeout(LONG);
        assert!(begun.elapsed() < LONG, "nothing wakes it");
    }
    assert_eq!(receiver.recv(), Ok(2));
}
