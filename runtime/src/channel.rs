//! [`channel`]: values from one function to another, whether those run on threads or in processes.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::marker::PhantomData;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::pool::{self, block_in_place};
use crate::process::{ChannelSocket, CodecError, Decoder, Direct, Encoder, Wire, read_value, write_value};

/// Makes a channel: what [`Sender`]s send, [`Receiver`]s receive, each value once and in order.
///
/// Both ends can be cloned, moved to threads, and given to functions of any kind, also `kind = "process"`. Values cross
/// as bytes, so they are serde's. The channel is bounded: it holds some hundred small values, or about 200 kB; a sender
/// waits for room beyond that.
///
/// In async code `.await` [`Sender::send_async`] and [`Receiver::recv_async`], in any executor. `send` and `recv` block
/// their thread there: with the feature `tokio`, another one takes its place meanwhile on a Tokio runtime of several
/// threads, and on one of a single thread they panic where they would wait.
///
/// Functions in processes that send to each other need a worker each at the same time: a worker process that waits on a
/// channel makes no room for another one. A pool of two cannot run three that wait for one another.
///
/// When the last sender is dropped, wherever it is, and when its process ends, receivers get what is left and then see
/// the channel closed; senders see that there is no receiver any more. An end that is an argument of a process function
/// is that function's alone once it runs; with `retries` the caller keeps a copy, for the next try, until it is through.
/// One call may have 200 ends among its arguments; each takes an open file here and one in the worker.
///
/// # Panics
///
/// If the system has no sockets left.
///
/// # Examples
///
/// ```standalone_crate
/// use fanfold::{Receiver, Sender, parallel};
///
/// #[parallel(kind = "process")]
/// fn produce(numbers: Sender<u64>) {
///     (1..=100).for_each(|n| numbers.send(n).expect("somebody receives"));
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
#[must_use]
pub fn channel<T: Wire>() -> (Sender<T>, Receiver<T>) {
    let (send, receive) = ChannelSocket::pair().unwrap_or_else(|error| panic!("a channel could not be made: {error}"));
    (Sender { end: send, values: PhantomData }, Receiver { end: receive, values: PhantomData })
}

/// The sending side of a [`channel`].
pub struct Sender<T> {
    end: ChannelSocket,
    values: PhantomData<fn(T)>,
}

/// The receiving side of a [`channel`].
pub struct Receiver<T> {
    end: ChannelSocket,
    values: PhantomData<fn() -> T>,
}

/// Why nothing was sent or received.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelError {
    /// There is nobody on the other side any more, and nothing left.
    Closed,
    /// Time ran out.
    TimedOut,
    /// The value cannot be sent to another process, or what came is none: why.
    #[non_exhaustive]
    Wire {
        /// What is wrong with it.
        message: String,
    },
    /// The system refused: why.
    #[non_exhaustive]
    System {
        /// The system's words.
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

/// Waits for the other side.
#[track_caller]
fn waiting<T>(wait: impl FnOnce() -> T) -> T {
    pool::wait_by(|| block_in_place::on_channel(wait))
}

impl<T: Wire> Sender<T> {
    /// Sends a value; waits while the channel is full. A worker thread lets another one run meanwhile; a worker
    /// process does not.
    ///
    /// # Errors
    ///
    /// [`ChannelError::Closed`] if every receiver is gone, and [`ChannelError::Wire`] if serde cannot write the value.
    ///
    /// # Panics
    ///
    /// If it has to wait on the only thread of a Tokio runtime (feature `tokio`): use [`send_async`](Self::send_async).
    #[allow(clippy::needless_pass_by_value, reason = "as every channel's `send`")]
    pub fn send(&self, value: T) -> Result<(), ChannelError> {
        let mut bytes = Vec::new();
        write_value(&value, &mut bytes)?;
        match self.end.send(&bytes, false) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done.map_err(Into::into),
        }
        Ok(waiting(|| self.end.send(&bytes, true))?)
    }

    /// As [`send`](Self::send), for async code: no thread is blocked while the channel is full. Nothing is sent if it is
    /// dropped before it is ready. Any executor can poll it.
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
        let mut bytes = Vec::new();
        let written = write_value(&value, &mut bytes);
        drop(value);
        async move {
            written?;
            let mut _watched = None;
            poll_fn(|context| match self.end.send(&bytes, false) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Looked at before: what makes room after that wakes the task.
                    _watched = None;
                    match self.end.watch(true, context.waker()) {
                        Ok(watched) => _watched = Some(watched),
                        Err(error) => return Poll::Ready(Err(error.into())),
                    }
                    Poll::Pending
                }
                done => Poll::Ready(done.map_err(Into::into)),
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
    /// [`ChannelError::Closed`] if nothing is left and every sender is gone.
    ///
    /// # Panics
    ///
    /// If it has to wait on the only thread of a Tokio runtime (feature `tokio`): use [`recv_async`](Self::recv_async).
    pub fn recv(&self) -> Result<T, ChannelError> {
        match self.try_recv()? {
            Some(value) => Ok(value),
            None => Self::take(waiting(|| self.end.receive(true))),
        }
    }

    /// As [`recv`](Self::recv), for async code: no thread is blocked until a value comes. No value is lost if it is dropped
    /// before it is ready. Any executor can poll it.
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
                // Looked at before: what comes after that wakes the task.
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

    /// Receives the next value if there is one now.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn try_recv(&self) -> Result<Option<T>, ChannelError> {
        match self.end.receive(false) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            received => Self::take(received).map(Some),
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
            if !waiting(|| self.end.wait(false, deadline))? {
                return Err(ChannelError::TimedOut);
            }
        }
    }

    /// Receives until the channel is closed.
    ///
    /// # Panics
    ///
    /// In `next()`, if what comes cannot be read, and as [`recv`](Self::recv).
    pub fn iter(&self) -> impl Iterator<Item = T> {
        std::iter::from_fn(|| match self.recv() {
            Ok(value) => Some(value),
            Err(ChannelError::Closed) => None,
            Err(error) => panic!("{error}"),
        })
    }

    fn take(received: io::Result<Option<crate::process::ChannelMessage>>) -> Result<T, ChannelError> {
        let message = received?.ok_or(ChannelError::Closed)?;
        Ok(read_value(message.bytes())?)
    }
}

/// So that a function that sends and receives may return what went wrong.
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
    ($end:ident) => {
        impl<T> Clone for $end<T> {
            /// Another handle to the same end; a value goes to one of several receivers.
            ///
            /// # Panics
            ///
            /// If the system has no descriptor left.
            fn clone(&self) -> Self {
                let end = self.end.try_clone();
                let end = end.unwrap_or_else(|error| panic!("an end of a channel could not be cloned: {error}"));
                Self { end, values: PhantomData }
            }
        }

        impl<T> fmt::Debug for $end<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($end)).finish_non_exhaustive()
            }
        }

        /// The other process gets a handle of its own.
        impl<T> Direct for $end<T> {
            fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
                Direct::write(&self.end, out)
            }

            fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
                <ChannelSocket as Direct>::read(input).map(|end| Self { end, values: PhantomData })
            }
        }
    };
}
end!(Sender);
end!(Receiver);
