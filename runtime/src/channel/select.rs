//! [`select`]: waits for the first of several receivers that has a value.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::error::ChannelError;
use super::receive_end::ReceiveEnd;
use super::receiver::Receiver;
use super::state::Watch;
use super::waiting;
use super::woken_thread::WokenThread;

/// A [`Receiver`] of any type, for [`select`].
pub trait Selectable: sealed::Ready {}
impl<T: Send> Selectable for Receiver<T> {}

mod sealed {
    use std::task::Waker;

    use super::{ChannelError, Watch};

    pub trait Ready {
        /// Whether a value can be received, or the channel is closed.
        fn is_ready(&self) -> bool;
        /// Wakes a task once it is.
        fn watch(&self, waker: &Waker) -> Result<Watch<'_>, ChannelError>;
    }
}

impl<T: Send> sealed::Ready for Receiver<T> {
    fn is_ready(&self) -> bool {
        ReceiveEnd::is_ready(&self.0)
    }

    fn watch(&self, waker: &Waker) -> Result<Watch<'_>, ChannelError> {
        self.0.watch(waker)
    }
}

/// Waits until one of several receivers has a value, or its channel is closed; returns its index. Of several, the first
/// one.
///
/// Receive with [`Receiver::try_recv`]: another handle of the receiver may have been faster. The channels may have
/// values of different types. A closed channel stays ready, so leave it out the next time.
///
/// # Panics
///
/// If there are no receivers, if the system refuses to watch them, and as [`Receiver::recv`]: use [`select_async`] in
/// async code.
///
/// # Examples
///
/// ```
/// let (numbers, from_numbers) = fanfold::channel();
/// let (words, from_words) = fanfold::channel();
/// words.send(String::from("fold"))?;
/// match fanfold::select(&[&from_numbers, &from_words]) {
///     0 => assert_eq!(from_numbers.try_recv()?, Some(5)),
///     _ => assert_eq!(from_words.try_recv()?.as_deref(), Some("fold")),
/// }
/// # numbers.send(5)?;
/// # Ok::<(), fanfold::ChannelError>(())
/// ```
#[track_caller]
pub fn select(receivers: &[&dyn Selectable]) -> usize {
    match select_until(receivers, None) {
        Some(index) => index,
        None => unreachable!("there is no deadline"),
    }
}

/// As [`select`], but waits for `limit` at most: `None` then.
///
/// # Panics
///
/// As [`select`].
#[track_caller]
pub fn select_timeout(receivers: &[&dyn Selectable], limit: Duration) -> Option<usize> {
    select_until(receivers, Instant::now().checked_add(limit))
}

/// As [`select`], for async code. Any executor can poll it.
///
/// # Panics
///
/// If there are no receivers, and if the system refuses to watch them.
///
/// # Examples
///
/// ```
/// let (sender, receiver) = fanfold::channel();
/// # pollster::block_on(async {
/// sender.send_async(5).await.unwrap();
/// assert_eq!(fanfold::select_async(&[&receiver]).await, 0);
/// # });
/// ```
pub async fn select_async(receivers: &[&dyn Selectable]) -> usize {
    assert_some(receivers);
    let mut watched = Vec::new();
    poll_fn(|context| poll_ready(receivers, context, &mut watched)).await
}

#[track_caller]
fn assert_some(receivers: &[&dyn Selectable]) {
    assert!(!receivers.is_empty(), "a select of no receivers would never end: give it at least one");
}

/// The first receiver that is ready. Otherwise the task is woken once one is, as long as `watched` lives.
fn poll_ready<'r>(
    receivers: &'r [&dyn Selectable],
    context: &Context<'_>,
    watched: &mut Vec<Watch<'r>>,
) -> Poll<usize> {
    watched.clear();
    if let Some(index) = receivers.iter().position(|receiver| receiver.is_ready()) {
        return Poll::Ready(index);
    }
    for receiver in receivers {
        match receiver.watch(context.waker()) {
            Ok(watch) => watched.push(watch),
            Err(error) => panic!("the receivers cannot be watched: {error}"),
        }
    }
    Poll::Pending
}

#[track_caller]
fn select_until(receivers: &[&dyn Selectable], deadline: Option<Instant>) -> Option<usize> {
    assert_some(receivers);
    if let Some(index) = receivers.iter().position(|receiver| receiver.is_ready()) {
        return Some(index);
    }
    waiting(deadline, || {
        let thread = WokenThread::this();
        let (waker, mut watched) = (Waker::from(Arc::clone(&thread)), Vec::new());
        let context = Context::from_waker(&waker);
        loop {
            match poll_ready(receivers, &context, &mut watched) {
                Poll::Ready(index) => return Some(index),
                Poll::Pending if thread.wait(deadline) => {}
                Poll::Pending => return None,
            }
        }
    })
}
