//! Channels in async code: a receiver or sender that waits leaves the runtime a thread for the other end.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use fanfold::{ChannelError, Receiver, Sender, TaskError, channel, join_all, parallel};
use futures_util::future;
use tokio::runtime::{Builder, Runtime};

fanfold::process_tests!();

/// Longer than any slow machine needs; reaching it means that the test hangs.
const TIME_LIMIT: Duration = Duration::from_secs(60);

#[parallel(kind = "io")]
async fn blocks_for(from: Receiver<u32>) -> Option<u32> {
    from.recv_timeout(TIME_LIMIT).ok()
}

#[parallel(kind = "io")]
async fn blocks_to_send(to: Sender<u32>, n: u32) -> bool {
    (0..n).all(|n| to.send(n).is_ok())
}

#[parallel(kind = "io")]
async fn awaits(from: Receiver<u32>) -> Option<u32> {
    from.recv_async().await.ok()
}

#[parallel(kind = "io")]
async fn sends(to: Sender<u32>, n: u32) -> Result<(), ChannelError> {
    for n in 0..n {
        to.send_async(n).await?;
    }
    Ok(())
}

#[parallel(kind = "process")]
fn produces(to: Sender<Vec<u8>>, count: u8, size: usize) -> Result<(), ChannelError> {
    (0..count).try_for_each(|n| Ok(to.send(vec![n; size])?))
}

#[parallel(kind = "process")]
fn consumes(from: Receiver<Vec<u8>>) -> usize {
    from.iter().map(|bytes| bytes.len()).sum()
}

fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime starts")
}

fn two_threads() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime starts")
}

/// Runs `work` on a thread of its own and panics if it does not end within [`TIME_LIMIT`].
#[track_caller]
fn must_end<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, done) = mpsc::channel();
    std::thread::spawn(move || sender.send(work()));
    done.recv_timeout(TIME_LIMIT).expect("it hangs or panics")
}

#[test]
fn blocking_receivers_on_the_fanfold_runtime_leave_the_sender_a_thread() {
    must_end(|| {
        let (to, from) = channel();
        let all: Vec<_> = (0..20).map(|_| blocks_for::submit(from.clone())).collect();
        assert!(blocks_to_send::submit(to, 20).join().expect("no panic"));
        assert!(join_all(all).expect("no panic").iter().all(Option::is_some));
    });
}

#[test]
fn blocking_receivers_on_two_runtime_threads_leave_the_sender_a_thread() {
    must_end(|| {
        two_threads().block_on(async {
            let (to, from) = channel();
            let all: Vec<_> = (0..6).map(|_| blocks_for::submit(from.clone())).collect();
            let plain = tokio::spawn({
                let from = from.clone();
                async move { from.recv() }
            });
            let iterated = tokio::spawn(async move { from.iter().next() });
            assert!(blocks_to_send::submit(to, 8).await.expect("no panic"));
            for task in all {
                assert!(task.await.expect("no panic").is_some());
            }
            assert!(plain.await.expect("no panic").is_ok() && iterated.await.expect("no panic").is_some());
        });
    });
}

#[test]
fn blocking_senders_on_two_runtime_threads_leave_the_receiver_a_thread() {
    must_end(|| {
        two_threads().block_on(async {
            let (to, from) = channel();
            let all: Vec<_> = (0..4).map(|_| blocks_to_send::submit(to.clone(), 5_000)).collect();
            drop(to);
            let received = tokio::spawn(async move { from.iter().count() });
            for task in all {
                assert!(task.await.expect("no panic"));
            }
            assert_eq!(received.await.expect("no panic"), 20_000);
        });
    });
}

#[test]
fn blocking_the_only_thread_of_a_runtime_is_refused() {
    must_end(|| {
        one_thread().block_on(async {
            let (to, from) = channel();
            let refused = |task: Result<_, TaskError>| {
                let text = task.expect_err("it would wait for ever").to_string();
                assert!(
                    text.contains("the only thread of an async runtime") && text.contains("`recv_async`"),
                    "{text}"
                );
            };
            refused(blocks_for::submit(from.clone()).await.map(drop));
            // Sends and receives that need not wait are allowed.
            assert!(blocks_to_send::submit(to.clone(), 3).await.expect("no panic"));
            assert_eq!((blocks_for::submit(from.clone()).await.expect("no panic"), from.recv()), (Some(0), Ok(1)));
            refused(blocks_to_send::submit(to.clone(), 1_000_000).await.map(drop));
            drop(to);
            assert!(from.iter().count() > 1);
            assert_eq!(from.recv(), Err(ChannelError::Closed));
        });
        // A thread that only entered the runtime does not drive it, so it may block.
        let runtime = one_thread();
        let _inside = runtime.enter();
        let (to, from) = channel();
        let sent = std::thread::spawn(move || to.send(1));
        assert_eq!(from.recv(), Ok(1));
        sent.join().expect("no panic").expect("it was received");
    });
}

async fn many_receivers(n: u32) {
    let (to, from) = channel();
    let all: Vec<_> = (0..n).map(|_| awaits::submit(from.clone())).collect();
    drop(from);
    let sent = sends::submit(to, n - 1);
    let mut got = 0;
    for task in all {
        got += usize::from(task.await.expect("no panic").is_some());
    }
    sent.await.expect("no panic").expect("they are received");
    // One receiver sees the closed channel.
    assert_eq!(got, n as usize - 1);
}

#[test]
fn awaiting_blocks_no_runtime() {
    must_end(|| {
        one_thread().block_on(many_receivers(50));
        two_threads().block_on(many_receivers(50));
        pollster::block_on(many_receivers(50));
        let executor = async_executor::Executor::new();
        pollster::block_on(executor.run(many_receivers(50)));
    });
}

/// Sizes of values in bytes, and how many of each.
const SIZES: [(usize, usize); 4] = [(10, 400), (1_000, 50), (60_000, 5), (200_000, 2)];

#[test]
fn a_full_channel_makes_async_senders_wait() {
    must_end(|| {
        let runtime = one_thread();
        runtime.block_on(async {
            let (to, from) = channel::<Vec<u8>>();
            let senders = (0..4).map(|n| {
                let to = to.clone();
                tokio::spawn(async move {
                    for (size, count) in SIZES {
                        for _ in 0..count {
                            to.send_async(vec![n; size]).await.expect("they are received");
                        }
                    }
                })
            });
            let senders: Vec<_> = senders.collect();
            drop(to);
            // The senders fill the channel before the first value is received.
            tokio::task::yield_now().await;
            let mut bytes = 0;
            while let Ok(value) = from.recv_async().await {
                bytes += value.len();
            }
            assert_eq!(bytes, 4 * SIZES.iter().map(|(size, count)| size * count).sum::<usize>());
            assert!(future::join_all(senders).await.into_iter().all(|sender| sender.is_ok()));
        });
    });
}

#[test]
fn async_code_exchanges_values_with_worker_processes() {
    must_end(|| {
        one_thread().block_on(async {
            for (size, count) in [(1, 100), (100_000, 5)] {
                let (to, from) = channel();
                let produced = produces::submit(to, count, size);
                for n in 0..count {
                    assert_eq!(from.recv_async().await, Ok(vec![n; size]));
                }
                assert_eq!(from.recv_async().await, Err(ChannelError::Closed));
                produced.await.expect("it lives").expect("they are received");

                let (to, from) = channel();
                let consumed = consumes::submit(from);
                for n in 0..count {
                    to.send_async(vec![n; size]).await.expect("they are received");
                }
                drop(to);
                assert_eq!(consumed.await.expect("it lives"), usize::from(count) * size);
            }
        });
    });
}

#[test]
fn dropping_one_end_ends_the_other_ends_wait() {
    must_end(|| {
        let (to, from) = channel::<u32>();
        let dropped = std::thread::spawn(move || drop(to));
        assert_eq!(pollster::block_on(from.recv_async()), Err(ChannelError::Closed));
        dropped.join().expect("no panic");
        let (to, from) = channel::<u32>();
        // Fills the channel, so that the next send waits.
        while poll_once(to.send_async(1), Waker::noop()).is_ready() {}
        let dropped = std::thread::spawn(move || drop(from));
        assert_eq!(pollster::block_on(to.send_async(1)).map_err(ChannelError::from), Err(ChannelError::Closed));
        dropped.join().expect("no panic");
    });
}

fn poll_once<F: Future>(future: F, waker: &Waker) -> Poll<F::Output> {
    pin!(future).as_mut().poll(&mut Context::from_waker(waker))
}

#[test]
fn dropping_a_pending_future_loses_no_value() {
    must_end(|| {
        let (to, from) = channel();
        for n in 0..1_000 {
            assert!(poll_once(from.recv_async(), Waker::noop()).is_pending());
            pollster::block_on(to.send_async(n)).expect("there is room");
            assert_eq!(pollster::block_on(from.recv_async()), Ok(n));
        }
        let mut sent = 0;
        while poll_once(to.send_async(sent), Waker::noop()).is_ready() {
            sent += 1;
        }
        // The value of the future that stayed pending was not sent.
        drop(to);
        assert_eq!(from.iter().collect::<Vec<_>>(), (0..sent).collect::<Vec<_>>());
    });
}

/// A waker that counts its wake-ups and panics on every other one.
struct PanickingWaker(AtomicUsize);

impl Wake for PanickingWaker {
    fn wake(self: Arc<Self>) {
        assert!(self.0.fetch_add(1, Ordering::Relaxed) % 2 == 1, "not now");
    }
}

#[test]
fn a_panicking_waker_loses_no_value() {
    must_end(|| {
        let woken = Arc::new(PanickingWaker(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&woken));
        let (to, from) = channel();
        for n in 1..=10 {
            let mut waits = pin!(from.recv_async());
            assert!(waits.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            to.send(n).expect("there is room");
            while woken.0.load(Ordering::Relaxed) < n {
                std::thread::yield_now();
            }
            assert_eq!(pollster::block_on(waits), Ok(n));
        }
    });
}

#[test]
fn several_futures_wait_on_one_receiver() {
    must_end(|| {
        one_thread().block_on(async {
            let (to, from) = channel();
            let sends = async {
                for n in 0..30 {
                    to.send_async(n).await.expect("they are received");
                }
            };
            let (received, ()) = future::join(future::join_all((0..30).map(|_| from.recv_async())), sends).await;
            let mut received = received.into_iter().collect::<Result<Vec<u32>, _>>().expect("none is lost");
            received.sort_unstable();
            assert_eq!(received, (0..30).collect::<Vec<_>>());
        });
    });
}
