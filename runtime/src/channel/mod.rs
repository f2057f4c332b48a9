//! [`channel`]: a bounded channel between functions on threads and in processes.
//!
//! [`Sender`] and [`Receiver`] are the same with each kind of ends: sockets, which cross to other processes (feature
//! `process`), and a queue in memory.

mod error;
#[cfg(any(not(feature = "process"), test))]
#[cfg_attr(feature = "process", allow(dead_code, reason = "tested only"))]
mod memory;
mod receiver;
mod select;
mod sender;
#[cfg(feature = "process")]
mod socket;
mod woken_thread;

use std::time::Instant;

use crate::pool::{self, block_in_place};

#[cfg(not(feature = "process"))]
use memory as ends;
#[cfg(feature = "process")]
use socket as ends;

pub use error::{ChannelError, SendError};
pub use receiver::{Receiver, ReceiverIntoIter, ReceiverIter};
pub use select::{Selectable, select, select_async, select_timeout};
pub use sender::Sender;

#[cfg(feature = "process")]
use crate::process::{Wire, refuse_local_state};

/// A type whose values go through a [`channel`]: without the feature `process`, any that is `Send`.
#[cfg(not(feature = "process"))]
pub trait Wire: Send {}
#[cfg(not(feature = "process"))]
impl<T: Send> Wire for T {}
/// Values stay in this process.
#[cfg(not(feature = "process"))]
fn refuse_local_state<T>() {}

/// Makes a channel: [`Receiver`]s receive the values that [`Sender`]s send, each value once and in order.
///
/// Both ends can be cloned, moved to threads, and passed to functions of any kind. With the feature `process` they cross
/// to `kind = "process"` as well: values are sent as bytes, so their types implement serde's traits; ends of channels and
/// shared values can be sent too. Without it the values stay in memory, and their types are `Send`.
///
/// The channel is bounded: it holds some hundred small values, and with the feature `process` about 200 kB; a sender
/// waits while it is full. [`channel_bounded`] holds fewer. [`select`] waits for several receivers.
///
/// In async code `.await` [`Sender::send_async`] and [`Receiver::recv_async`], in any executor. `send` and `recv` block
/// their thread there. With the feature `tokio`, another thread takes its place meanwhile on a multi-thread Tokio
/// runtime; on a current-thread one they panic if they would have to wait.
///
/// Functions in processes that send to each other need a worker each at the same time: a worker process that waits on a
/// channel still counts as running. A pool of two cannot run three functions that wait for one another.
///
/// The channel is closed when the last sender, in any process, is dropped or its process has ended: receivers then get
/// the remaining values, and [`ChannelError::Closed`] after them. Senders get that error once there is no receiver. An
/// end that is passed to a process function belongs to that function alone once it runs; with `retries` the caller
/// keeps a copy for the next try until the call is done. A call may have up to 200 ends among its arguments; each takes
/// a file descriptor here and one in the worker.
///
/// # Panics
///
/// With the feature `process`, if no socket can be opened, such as at the limit of open files (`RLIMIT_NOFILE`), and if
/// `T` is an `Arc` of a lock or an atomic (serde's feature `rc`), of which the receiver would get a copy.
///
/// # Examples
///
/// ```standalone_crate
/// use fanfold::{Receiver, Sender, parallel};
///
/// #[parallel(kind = "process")]
/// fn produce(numbers: Sender<u64>) {
///     (1..=100).for_each(|n| numbers.send(n).expect("the receiver is open"));
/// }
///
/// #[parallel(kind = "io")]
/// fn consume(numbers: Receiver<u64>) -> u64 {
///     numbers.iter().sum()
/// }
///
/// #[fanfold::main]
/// fn main() -> Result<(), fanfold::TaskError> {
///     let (sender, receiver) = fanfold::channel();
///     let (produced, consumed) = (produce::submit(sender), consume::submit(receiver));
///     produced.join()?;
///     assert_eq!(consumed.join()?, 5050);
///     Ok(())
/// }
/// ```
#[doc(alias = "mpsc")]
#[doc(alias = "Queue")]
#[must_use]
#[track_caller]
pub fn channel<T: Wire>() -> (Sender<T>, Receiver<T>) {
    refuse_local_state::<T>();
    let (send, receive) = ends::ends(None);
    (Sender(send), Receiver(receive))
}

/// Makes a [`channel`] that holds up to `capacity` values, which were sent and are not received: a sender waits while
/// there are so many.
///
/// With the feature `process` it holds fewer large values, as any channel: about 200 kB. A capacity above 200 is one of 200. A sender
/// whose process is killed within [`send`](Sender::send) may take a place with it.
///
/// # Panics
///
/// If `capacity` is 0: no value is handed over without a place for it. And as [`channel`].
///
/// # Examples
///
/// ```
/// use fanfold::{ChannelError, channel_bounded};
///
/// let (sender, receiver) = channel_bounded(2);
/// let sends = std::thread::spawn(move || (0..100).try_for_each(|n| sender.send(n)));
/// // The sender is at most two values ahead.
/// assert_eq!(receiver.iter().take(10).sum::<u32>(), 45);
/// receiver.close();
/// assert_eq!(sends.join().unwrap().map_err(ChannelError::from), Err(ChannelError::Closed));
/// ```
#[doc(alias = "sync_channel")]
#[must_use]
#[track_caller]
pub fn channel_bounded<T: Wire>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    refuse_local_state::<T>();
    assert!(capacity > 0, "the capacity of a channel must be at least 1");
    let (send, receive) = ends::ends(Some(capacity));
    (Sender(send), Receiver(receive))
}

/// Blocks until the other side acts, or the deadline; a worker thread releases its permit meanwhile.
#[track_caller]
pub(crate) fn waiting<T>(deadline: Option<Instant>, wait: impl FnOnce() -> T) -> T {
    let wait = || block_in_place::wait_on_channel(wait);
    match deadline {
        Some(deadline) => pool::blocking_section_until(deadline, wait),
        None => pool::blocking_section(wait),
    }
}
