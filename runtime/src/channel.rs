//! [`channel`]: a bounded channel between functions on threads and in processes.
//!
//! Values go through a socket, which the kernel bounds by bytes. A capacity is a second socket: it holds a message for
//! each free place, which a sender takes and a receiver gives back. So whoever waits for a place waits as for a value,
//! and notices when the other side closes.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::pool::{self, block_in_place};
use crate::process::{ChannelSocket, CodecError, Decoder, Direct, Encoder, Wire, read_message, wire, write_message};

/// Makes a channel: [`Receiver`]s receive the values that [`Sender`]s send, each value once and in order.
///
/// Both ends can be cloned, moved to threads, and passed to functions of any kind, also `kind = "process"`. Values are
/// sent as bytes, so their types implement serde's traits; ends of channels and [shared values](crate::shared) can be
/// sent too. The channel is bounded: it holds some hundred small values, or about 200 kB; a sender waits while it is
/// full. [`channel_bounded`] holds fewer.
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
/// If no socket can be opened, such as at the limit of open files (`RLIMIT_NOFILE`).
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
pub fn channel<T: Wire>() -> (Sender<T>, Receiver<T>) {
    let (send, receive) = ChannelSocket::pair()
        .unwrap_or_else(|error| panic!("no socket for a channel: {error} (RLIMIT_NOFILE reached?)"));
    (Sender::of(send, None), Receiver::of(receive, None))
}

/// The largest capacity: so many messages without contents fit a socket.
const MAX_CAPACITY: usize = 200;

/// Makes a [`channel`] that holds up to `capacity` values, which were sent and are not received: a sender waits while
/// there are so many.
///
/// The channel holds fewer large values, as any channel: about 200 kB. A capacity above 200 is one of 200. A sender
/// whose process is killed within [`send`](Sender::send) may take a place with it.
///
/// # Panics
///
/// If `capacity` is 0, and as [`channel`].
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
/// assert_eq!(sends.join().unwrap(), Err(ChannelError::Closed));
/// ```
#[doc(alias = "sync_channel")]
#[must_use]
pub fn channel_bounded<T: Wire>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "the capacity of a channel must be at least 1");
    let (mut sender, mut receiver) = channel();
    let (free, places) = ChannelSocket::pair()
        .unwrap_or_else(|error| panic!("no socket for a channel: {error} (RLIMIT_NOFILE reached?)"));
    (0..capacity.min(MAX_CAPACITY)).for_each(|_| free.send_token());
    (sender.places, receiver.places) = (Some(places), Some(free));
    (sender, receiver)
}

/// The sending side of a [`channel`].
pub struct Sender<T> {
    end: ChannelSocket,
    /// With a capacity: a message for each free place.
    places: Option<ChannelSocket>,
    /// The places that this handle took and did not use, because a [`send_async`](Self::send_async) was dropped.
    spare: AtomicUsize,
    values: PhantomData<fn(T)>,
}

/// The receiving side of a [`channel`].
pub struct Receiver<T> {
    end: ChannelSocket,
    /// With a capacity: where a message goes for each place that gets free.
    places: Option<ChannelSocket>,
    values: PhantomData<fn() -> T>,
}

/// A place for a value, which was taken and is not used yet.
struct Place<'a>(&'a AtomicUsize);

impl Place<'_> {
    /// The value has gone to its place.
    fn used(self) {
        std::mem::forget(self);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Why nothing was sent or received.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelError {
    /// There is no end left on the other side, and no value.
    Closed,
    /// The time limit is over.
    TimedOut,
    /// The value cannot be serialized, or the received bytes cannot be deserialized.
    #[non_exhaustive]
    Wire {
        /// Why.
        message: String,
    },
    /// A system call failed.
    #[non_exhaustive]
    System {
        /// The operating system's message.
        message: String,
    },
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the channel is closed: the other side was dropped, or its process has ended"),
            Self::TimedOut => f.write_str("nothing came through the channel in time"),
            Self::Wire { message } => write!(f, "the value cannot go through a channel: {message}"),
            Self::System { message } => write!(f, "the channel has failed: {message}"),
        }
    }
}

impl std::error::Error for ChannelError {}

impl From<io::Error> for ChannelError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Self::Closed,
            _ => Self::System { message: error.to_string() },
        }
    }
}

impl From<CodecError> for ChannelError {
    fn from(error: CodecError) -> Self {
        Self::Wire { message: error.to_string() }
    }
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

impl<T: Wire> Sender<T> {
    /// Sends a value; waits while the channel is full. A worker thread lets another one run meanwhile; a worker process
    /// does not.
    ///
    /// # Errors
    ///
    /// [`ChannelError::Closed`] if there is no receiver left, and [`ChannelError::Wire`] if the value cannot be
    /// serialized.
    ///
    /// # Panics
    ///
    /// If it has to wait on the only thread of a Tokio runtime (feature `tokio`): use [`send_async`](Self::send_async).
    #[allow(clippy::needless_pass_by_value, reason = "as every channel's `send`")]
    pub fn send(&self, value: T) -> Result<(), ChannelError> {
        let (bytes, descriptors) = write_message(&value)?;
        let place = match self.take_place(false) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => waiting(None, || self.take_place(true)),
            taken => taken,
        };
        let place = place?;
        match self.end.send(&bytes, &descriptors, false) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                waiting(None, || self.end.send(&bytes, &descriptors, true))?;
            }
            done => done?,
        }
        place.used();
        Ok(())
    }

    /// Takes a place for a value. Without a capacity there always is one.
    fn take_place(&self, wait: bool) -> io::Result<Place<'_>> {
        if let Some(places) = &self.places {
            let spare = self.spare.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |spare| spare.checked_sub(1));
            if spare.is_err() && !places.receive_token(wait)? {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
        Ok(Place(&self.spare))
    }

    /// Closes the channel for all of its senders and receivers, in all processes: receivers get the values that were
    /// sent, and [`ChannelError::Closed`] after them; whoever sends gets that error.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::ChannelError;
    ///
    /// let (sender, receiver) = fanfold::channel();
    /// let same = sender.clone();
    /// sender.send(1)?;
    /// sender.close();
    /// assert_eq!(same.send(2), Err(ChannelError::Closed));
    /// assert_eq!(receiver.recv(), Ok(1));
    /// assert_eq!(receiver.recv(), Err(ChannelError::Closed));
    /// # Ok::<(), ChannelError>(())
    /// ```
    pub fn close(&self) {
        self.end.close();
        self.places.iter().for_each(ChannelSocket::close);
    }

    /// As [`send`](Self::send), for async code: no thread is blocked while the channel is full. Nothing is sent if it
    /// is dropped before it is ready. Any executor can poll it.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = fanfold::channel();
    /// # pollster::block_on(async {
    /// sender.send_async(5).await.unwrap();
    /// assert_eq!(receiver.recv_async().await, Ok(5));
    /// # });
    /// ```
    pub fn send_async(&self, value: T) -> impl Future<Output = Result<(), ChannelError>> + Send + use<'_, T> {
        let written = write_message(&value);
        drop(value);
        async move {
            let (bytes, descriptors) = written?;
            let mut watched = None;
            let mut place = None;
            poll_fn(|context| {
                // The socket that refuses is the one to wait for. A receive after that wakes the task.
                let (refused, socket) = match place.take().map_or_else(|| self.take_place(false), Ok) {
                    Ok(taken) => match self.end.send(&bytes, &descriptors, false) {
                        Ok(()) => {
                            taken.used();
                            return Poll::Ready(Ok(()));
                        }
                        Err(error) => {
                            place = Some(taken);
                            (error, Some((&self.end, true)))
                        }
                    },
                    Err(error) => (error, self.places.as_ref().map(|places| (places, false))),
                };
                let Some((socket, to_send)) = socket.filter(|_| refused.kind() == io::ErrorKind::WouldBlock) else {
                    return Poll::Ready(Err(refused.into()));
                };
                watched = None;
                match socket.watch(to_send, context.waker()) {
                    Ok(watch) => watched = Some(watch),
                    Err(error) => return Poll::Ready(Err(error.into())),
                }
                Poll::Pending
            })
            .await
        }
    }
}

impl<T: Wire> Receiver<T> {
    /// Receives the next value; waits until there is one. A worker thread lets another one run meanwhile; a worker
    /// process does not.
    ///
    /// # Errors
    ///
    /// [`ChannelError::Closed`] if there is no value left and no sender.
    ///
    /// # Panics
    ///
    /// If it has to wait on the only thread of a Tokio runtime (feature `tokio`): use [`recv_async`](Self::recv_async).
    pub fn recv(&self) -> Result<T, ChannelError> {
        match self.try_recv()? {
            Some(value) => Ok(value),
            None => self.take(waiting(None, || self.end.receive(true))),
        }
    }

    /// As [`recv`](Self::recv), for async code: no thread is blocked until a value comes. No value is lost if it is
    /// dropped before it is ready. Any executor can poll it.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = fanfold::channel();
    /// # pollster::block_on(async {
    /// let sends = std::thread::spawn(move || sender.send("hello".to_owned()));
    /// assert_eq!(receiver.recv_async().await.as_deref(), Ok("hello"));
    /// # sends.join().unwrap().unwrap();
    /// # });
    /// ```
    pub async fn recv_async(&self) -> Result<T, ChannelError> {
        let mut _watched = None;
        poll_fn(|context| match self.try_recv() {
            Ok(None) => {
                // The channel was empty just before. A send after that wakes the task.
                _watched = None;
                match self.end.watch(false, context.waker()) {
                    Ok(watched) => _watched = Some(watched),
                    Err(error) => return Poll::Ready(Err(error.into())),
                }
                Poll::Pending
            }
            Ok(Some(value)) => Poll::Ready(Ok(value)),
            Err(error) => Poll::Ready(Err(error)),
        })
        .await
    }

    /// Receives the next value, or `None` if there is none now.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn try_recv(&self) -> Result<Option<T>, ChannelError> {
        match self.end.receive(false) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            received => self.take(received).map(Some),
        }
    }

    /// Receives the next value; waits for `limit` at most.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`ChannelError::TimedOut`].
    ///
    /// # Panics
    ///
    /// As [`recv`](Self::recv).
    pub fn recv_timeout(&self, limit: Duration) -> Result<T, ChannelError> {
        let deadline = Instant::now().checked_add(limit);
        loop {
            if let Some(value) = self.try_recv()? {
                return Ok(value);
            }
            if !waiting(deadline, || self.end.wait(false, deadline))? {
                return Err(ChannelError::TimedOut);
            }
        }
    }

    /// Receives until the channel is closed.
    ///
    /// # Panics
    ///
    /// In `next()`, if a value cannot be deserialized, and as [`recv`](Self::recv).
    pub fn iter(&self) -> impl Iterator<Item = T> {
        std::iter::from_fn(|| match self.recv() {
            Ok(value) => Some(value),
            Err(ChannelError::Closed) => None,
            Err(error) => panic!("{error}"),
        })
    }

    /// Closes the channel for all of its senders and receivers, in all processes: whoever sends gets
    /// [`ChannelError::Closed`], and so do receivers once they have got the values that were sent.
    pub fn close(&self) {
        self.end.close();
        self.places.iter().for_each(ChannelSocket::close);
    }

    fn take(&self, received: io::Result<Option<crate::process::ChannelMessage>>) -> Result<T, ChannelError> {
        let mut message = received?.ok_or(ChannelError::Closed)?;
        self.places.iter().for_each(ChannelSocket::send_token);
        let descriptors = std::mem::take(&mut message.descriptors);
        Ok(read_message(message.bytes(), descriptors)?)
    }
}

/// A process function can return its channel's error.
impl Direct for ChannelError {
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        out.value(&match self {
            Self::Closed => (0_u8, ""),
            Self::TimedOut => (1, ""),
            Self::Wire { message } => (2, message.as_str()),
            Self::System { message } => (3, message.as_str()),
        })
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
        let (kind, message): (u8, String) = input.value()?;
        Ok(match kind {
            0 => Self::Closed,
            1 => Self::TimedOut,
            2 => Self::Wire { message },
            _ => Self::System { message },
        })
    }
}

macro_rules! end {
    ($end:ident $(, $spare:ident)?) => {
        impl<T> $end<T> {
            fn of(end: ChannelSocket, places: Option<ChannelSocket>) -> Self {
                Self { end, places, $($spare: AtomicUsize::new(0),)? values: PhantomData }
            }
        }

        impl<T> Clone for $end<T> {
            /// Another handle to the same end. A value goes to one of several receivers.
            ///
            /// # Panics
            ///
            /// At the limit of open files (`RLIMIT_NOFILE`).
            fn clone(&self) -> Self {
                let clone = |socket: &ChannelSocket| {
                    socket.try_clone().unwrap_or_else(|error| {
                        panic!("no file descriptor for the clone of a channel's end: {error} (RLIMIT_NOFILE reached?)")
                    })
                };
                Self::of(clone(&self.end), self.places.as_ref().map(clone))
            }
        }

        impl<T> fmt::Debug for $end<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($end)).finish_non_exhaustive()
            }
        }

        /// The other process gets its own handle.
        impl<T> Direct for $end<T> {
            fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
                Direct::write(&self.end, out)?;
                Direct::write(&self.places, out)
            }

            fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
                Ok(Self::of(Direct::read(input)?, Direct::read(input)?))
            }
        }

        wire!($end<T>);
    };
}
end!(Sender, spare);
end!(Receiver);
