//! Channels with a capacity, and closing a channel by either of its ends.

use std::future::Future;
use std::panic::catch_unwind;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use fanfold::shared::Counter;
use fanfold::{ChannelError, Pool, Receiver, SendError, Sender, channel, channel_bounded, parallel};

fanfold::process_tests!();

static TWO: Pool = Pool::process("bounded").threads(2);

const LONG: Duration = Duration::from_secs(60);

/// Polls a future once.
fn poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_channel_holds_no_more_values_than_its_capacity() {
    for capacity in [1, 2, 7, 200] {
        let (sender, receiver) = channel_bounded(capacity);
        let others = [sender.clone(), sender.clone()];
        for n in 0..capacity {
            others[n % 2].send(n).expect("there is a place");
        }
        {
            let mut more = pin!(sender.send_async(capacity));
            assert!(poll(more.as_mut()).is_pending(), "{capacity}");
            assert_eq!(receiver.recv(), Ok(0));
            assert_eq!(poll(more), Poll::Ready(Ok(())));
        }
        assert!(poll(pin!(others[0].send_async(0))).is_pending());
        drop((sender, others));
        assert!(receiver.iter().eq(1..=capacity));
    }
}

/// The end goes to a worker process and back.
#[parallel(kind = "process", pool = TWO)]
fn pass(values: Sender<Vec<u8>>) -> Sender<Vec<u8>> {
    values
}

#[test]
fn a_dropped_send_leaves_its_place() {
    let (sender, receiver) = channel_bounded::<Vec<u8>>(100);
    let sender = pass(sender);
    // Large values fill the socket before all places are taken.
    let mut sent = 0;
    while poll(pin!(sender.send_async(vec![1; 100_000]))).is_ready() {
        sent += 1;
        assert!(sent < 100, "the socket is full");
    }
    for _ in 0..150 {
        assert!(poll(pin!(sender.send_async(vec![1; 100_000]))).is_pending());
    }
    for _ in 0..sent {
        assert_eq!(receiver.recv().expect("it was sent").len(), 100_000);
    }
    for n in 0..100 {
        assert_eq!(poll(pin!(sender.send_async(vec![n]))), Poll::Ready(Ok(())), "{n}");
    }
    assert!(poll(pin!(sender.send_async(vec![1]))).is_pending());
}

#[parallel(kind = "process", pool = TWO)]
fn produce(values: Sender<i64>, ahead: Counter) -> Result<(), ChannelError> {
    for n in 0..500 {
        values.send(n)?;
        ahead.add(1);
    }
    Ok(())
}

#[parallel(kind = "process", pool = TWO)]
fn consume(values: Receiver<i64>) -> i64 {
    values.iter().sum()
}

#[test]
fn a_process_is_no_further_ahead_than_the_capacity() {
    let (sender, receiver) = channel_bounded(3);
    let sent = Counter::new(0);
    let produced = produce::submit(sender, sent.clone());
    for n in 0..500 {
        assert!(sent.get() <= n + 3, "{} at {n}", sent.get());
        assert_eq!(receiver.recv_timeout(LONG), Ok(n));
    }
    assert_eq!(produced.join().expect("no panic"), Ok(()));
    assert_eq!(receiver.recv(), Err(ChannelError::Closed));
}

#[test]
fn both_ends_of_a_bounded_channel_may_be_in_processes() {
    let (sender, receiver) = channel_bounded(2);
    let consumed = consume::submit(receiver);
    let produced = produce::submit(sender, Counter::new(0));
    assert_eq!(produced.join().expect("no panic"), Ok(()));
    assert_eq!(consumed.join().expect("no panic"), (0..500).sum::<i64>());
}

#[test]
fn a_closed_receiver_ends_senders_that_wait() {
    for bounded in [true, false] {
        let (sender, receiver) = if bounded { channel_bounded(1) } else { channel() };
        let produced = produce::submit(sender.clone(), Counter::new(0));
        let waits = std::thread::spawn(move || (0_i64..).find_map(|n| sender.send(n).err()));
        assert!(receiver.recv_timeout(LONG).is_ok());
        let same = receiver.clone();
        receiver.close();
        assert_eq!(waits.join().expect("no panic").map(|unsent| unsent.error), Some(ChannelError::Closed));
        // The process may have sent all of its values to a channel without a capacity.
        assert!(produced.join().expect("no panic") == Err(ChannelError::Closed) || !bounded);
        while same.recv().is_ok() {}
        assert_eq!(same.recv(), Err(ChannelError::Closed));
        receiver.close();
    }
}

#[test]
fn a_closed_sender_ends_receivers_once_they_have_all_values() {
    for bounded in [true, false] {
        let (sender, receiver) = if bounded { channel_bounded(5) } else { channel() };
        let consumed = consume::submit(receiver.clone());
        let same = sender.clone();
        (0..5).for_each(|n| sender.send(n).expect("there is a receiver"));
        sender.close();
        assert_eq!(same.send(9).map_err(ChannelError::from), Err(ChannelError::Closed));
        let unsent = SendError { value: 9, error: ChannelError::Closed };
        assert_eq!(poll(pin!(same.send_async(9))), Poll::Ready(Err(unsent)));
        let here: i64 = receiver.iter().sum();
        assert_eq!(here + consumed.join().expect("no panic"), 10);
    }
}

#[test]
fn a_capacity_of_none_is_refused() {
    let panic = catch_unwind(|| channel_bounded::<u8>(0)).expect_err("refused");
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"the capacity of a channel must be at least 1"));
}
