//! [`Sender`]: `send`, `try_send`, `send_timeout` and `send_async`.

use std::fmt;
use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::{Duration, Instant};

use super::error::{ChannelError, SendError};
use super::memory::{Message, Refused, SendEnd};
use super::waiting;

/// The sending side of a [`channel`](crate::channel).
pub struct Sender<T>(pub(super) SendEnd<T>);

impl<T: Send> Sender<T> {
    /// Sends a value; waits while the channel is full. A worker thread lets another one run meanwhile; a worker process
    /// does not.
    ///
    /// # Errors
    ///
    /// [`ChannelError::Closed`] if there is no receiver left. If the channel has crossed to another process,
    /// [`ChannelError::Wire`] if the value cannot be serialized, and [`ChannelError::System`] if a system call fails,
    /// such as for want of memory for a large value. With the value.
    ///
    /// # Panics
    ///
    /// If it has to wait on the only thread of a Tokio runtime (feature `tokio`): use [`send_async`](Self::send_async).
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.send_until(value, None)
    }

    /// As [`send`](Self::send), but waits for `limit` at most.
    ///
    /// # Errors
    ///
    /// As `send`, and [`ChannelError::TimedOut`].
    ///
    /// # Panics
    ///
    /// As `send`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use fanfold::ChannelError;
    ///
    /// let (sender, receiver) = fanfold::channel_bounded(1);
    /// sender.send(1)?;
    /// let unsent = sender.send_timeout(2, Duration::from_millis(1)).unwrap_err();
    /// assert_eq!((unsent.value, unsent.error), (2, ChannelError::TimedOut));
    /// # drop(receiver);
    /// # Ok::<(), ChannelError>(())
    /// ```
    pub fn send_timeout(&self, value: T, limit: Duration) -> Result<(), SendError<T>> {
        // A limit that is beyond the clock is none.
        self.send_until(value, Instant::now().checked_add(limit))
    }

    fn send_until(&self, value: T, deadline: Option<Instant>) -> Result<(), SendError<T>> {
        let mut message = Message::new(value);
        let mut watched = None;
        loop {
            let full;
            (full, message) = match self.0.try_send(message) {
                Err((Refused::Full(full), message)) => (full, message),
                done => return done.map_err(unsent),
            };
            drop(watched.take());
            match waiting(deadline, || self.0.wait(&full, deadline)) {
                Ok(Some(watch)) => watched = Some(watch),
                Ok(None) => return Err(message.into_error(ChannelError::TimedOut)),
                Err(error) => return Err(message.into_error(error)),
            }
        }
    }

    /// Sends a value if there is a place for it now.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`ChannelError::Full`].
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::ChannelError;
    ///
    /// let (sender, receiver) = fanfold::channel_bounded(1);
    /// sender.try_send(1)?;
    /// let unsent = sender.try_send(2).unwrap_err();
    /// assert_eq!((unsent.value, unsent.error), (2, ChannelError::Full));
    /// # drop(receiver);
    /// # Ok::<(), ChannelError>(())
    /// ```
    pub fn try_send(&self, value: T) -> Result<(), SendError<T>> {
        self.0.try_send(Message::new(value)).map_err(unsent)
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
    pub fn send_async(&self, value: T) -> impl Future<Output = Result<(), SendError<T>>> + Send + use<'_, T> {
        let message = Message::new(value);
        async move {
            let mut message = Some(message);
            let mut _watched = None;
            poll_fn(|context| {
                let Some(unsent_message) = message.take() else { unreachable!("polled after it was ready") };
                let (full, message_left) = match self.0.try_send(unsent_message) {
                    Err((Refused::Full(full), message)) => (full, message),
                    done => return Poll::Ready(done.map_err(unsent)),
                };
                // A place that gets free after this wakes the task.
                _watched = None;
                match self.0.watch(&full, context.waker()) {
                    Ok(watch) => _watched = Some(watch),
                    Err(error) => return Poll::Ready(Err(message_left.into_error(error))),
                }
                message = Some(message_left);
                Poll::Pending
            })
            .await
        }
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
    /// assert_eq!(same.send(2).map_err(ChannelError::from), Err(ChannelError::Closed));
    /// assert_eq!(receiver.recv(), Ok(1));
    /// assert_eq!(receiver.recv(), Err(ChannelError::Closed));
    /// # Ok::<(), ChannelError>(())
    /// ```
    pub fn close(&self) {
        self.0.close();
    }
}

/// The error for a message that was not sent.
fn unsent<T: Send>((refused, message): (Refused, Message<T>)) -> SendError<T> {
    message.into_error(match refused {
        Refused::Full(_) => ChannelError::Full,
        Refused::Failed(error) => error,
    })
}

impl<T> Clone for Sender<T> {
    /// Another handle to the same end.
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}
