//! [`channel`]: a bounded channel between functions on threads and in processes.
//!
//! A channel is a queue in memory (`memory.rs`, `state.rs`). With the feature `process` an end can cross to another
//! process, and the channel has sockets from then on (`crossing.rs`, `crossed.rs`).

#[cfg(feature = "process")]
mod crossed;
#[cfg(feature = "process")]
mod crossing;
mod error;
mod memory;
#[cfg(feature = "process")]
mod moving;
#[cfg(not(feature = "process"))]
mod never_crossed;
mod receive_end;
mod receiver;
mod select;
mod sender;
mod state;
mod woken_thread;

use std::time::Instant;

use crate::pool::{self, block_in_place};

pub use error::{ChannelError, SendError};
pub use receiver::{Receiver, ReceiverIntoIter, ReceiverIter};
pub use select::{Selectable, select, select_async, select_timeout};
pub use sender::Sender;

#[cfg(feature = "process")]
pub(crate) use moving::wait_until_sent;

/// Makes a channel: [`Receiver`]s receive the values that [`Sender`]s send, each value once and in order.
///
/// Both ends can be cloned, moved to threads, and passed to functions of any kind. Between threads values of any type
/// that is `Send` go through memory, and nothing is asked of the system.
///
/// With the feature `process` an end crosses to another process as an argument or result of a `kind = "process"`
/// function, or as a part of one: the ends implement serde's traits, so a struct that derives them may have ends as
/// fields (generic structs with `#[serde(bound = "T: fanfold::Wire")]`). serde can write an end for another process alone,
/// and gives an error elsewhere. From then on values go through sockets as bytes, so their types implement serde's
/// traits; ends of channels and shared values, and structs of them, can be sent too. Those that wait in memory cross first,
/// in their order; if one cannot be serialized, or the system refuses a socket, the call that the end was an argument
/// of fails, and the channel stays as it was. For that moment nothing is sent or received: [`Sender::try_send`] and
/// [`Receiver::try_recv`] find a full and an empty channel.
///
/// The channel is bounded, and a sender waits while it is full: it holds 200 values in memory, and between processes
/// what a socket does, which is 100 to 200 kB as serialized and some hundred small values. [`channel_bounded`] chooses
/// the number. [`select`] waits for several receivers.
///
/// A copy of the process that `fork` made has a copy of each channel in memory, whose values no other process gets. One
/// that has crossed is the same channel in the copy on Linux, and an error on other systems.
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
/// keeps a copy for the next try until the call is done. A call may have up to 200 ends among its arguments; a channel
/// that has crossed takes a file descriptor in each process that has an end, and one or two more if it has a capacity
/// or crossed with more values than a socket holds. A worker that exits has sent its values, if they are received
/// within the time that it may take to exit. One that is killed takes those with it that did not fit into the socket;
/// receivers get [`ChannelError::System`] in their place.
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
///
/// Ends as fields of a struct:
///
/// ```standalone_crate
/// use fanfold::{Sender, parallel};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Job {
///     name: String,
///     lengths: Option<Sender<usize>>,
/// }
///
/// #[parallel(kind = "process")]
/// fn run(job: Job) {
///     if let Some(lengths) = job.lengths {
///         lengths.send(job.name.len()).expect("the receiver is open");
///     }
/// }
///
/// #[fanfold::main]
/// fn main() {
///     let (sender, receiver) = fanfold::channel();
///     run(Job { name: "first".to_owned(), lengths: Some(sender) });
///     assert_eq!(receiver.recv(), Ok(5));
/// }
/// ```
#[doc(alias = "mpsc")]
#[doc(alias = "Queue")]
#[must_use]
#[track_caller]
pub fn channel<T: Send>() -> (Sender<T>, Receiver<T>) {
    let (send, receive) = memory::ends(None);
    (Sender(send), Receiver(receive))
}

/// Makes a [`channel`] that holds up to `capacity` values, which were sent and are not received: a sender waits while
/// there are so many.
///
/// Between threads it holds so many, also 100,000. Between processes no channel holds more than a socket: once an end
/// has crossed, a larger capacity is one of 200 small values, or 100 to 200 kB as serialized, and the values that
/// crossed from memory count as well until they are received. A sender whose process is killed within
/// [`send`](Sender::send) may take a place with it.
///
/// # Panics
///
/// If `capacity` is 0: no value is handed over without a place for it.
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
pub fn channel_bounded<T: Send>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "the capacity of a channel must be at least 1");
    let (send, receive) = memory::ends(Some(capacity));
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
