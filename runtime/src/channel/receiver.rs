//! [`Receiver`]: `recv`, `try_recv`, `recv_timeout`, `recv_async`, and iterators.

use std::fmt;
use std::future::poll_fn;
use std::iter::FusedIterator;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::error::ChannelError;
use super::receive_end::ReceiveEnd;
use super::waiting;

/// The receiving side of a [`channel`](crate::channel).
pub struct Receiver<T>(pub(super) ReceiveEnd<T>);

impl<T: Send> Receiver<T> {
    /// Receives the next value; waits until there is one. A worker thread lets another one run meanwhile; a worker
    /// process does not.
    ///
    /// # Errors
    ///
    /// [`ChannelError::Closed`] if there is no value left and no sender. If the channel has crossed to another process,
    /// [`ChannelError::Wire`] if what came cannot be deserialized as a `T`, and [`ChannelError::System`] if a system
    /// call fails, here or where the value came from.
    ///
    /// # Panics
    ///
    /// If it has to wait on the only thread of a Tokio runtime (feature `tokio`): use [`recv_async`](Self::recv_async).
    pub fn recv(&self) -> Result<T, ChannelError> {
        match self.try_recv()? {
            Some(value) => Ok(value),
            None => waiting(None, || self.0.recv()),
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
                match self.0.watch(context.waker()) {
                    Ok(watched) => _watched = Some(watched),
                    Err(error) => return Poll::Ready(Err(error)),
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
        self.0.try_recv()
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
        let mut watched = None;
        loop {
            if let Some(value) = self.try_recv()? {
                return Ok(value);
            }
            drop(watched.take());
            match waiting(deadline, || self.0.wait(deadline))? {
                Some(watch) => watched = Some(watch),
                None => return Err(ChannelError::TimedOut),
            }
        }
    }

    /// Receives until the channel is closed. A receiver and a reference to one can be iterated as well.
    ///
    /// # Panics
    ///
    /// In `next()`, if a value cannot be deserialized, and as [`recv`](Self::recv).
    pub fn iter(&self) -> impl Iterator<Item = T> + use<'_, T> {
        self.into_iter()
    }

    fn next(&self) -> Option<T> {
        match self.recv() {
            Ok(value) => Some(value),
            Err(ChannelError::Closed) => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Closes the channel for all of its senders and receivers, in all processes: whoever sends gets
    /// [`ChannelError::Closed`], and so do receivers once they have got the values that were sent.
    pub fn close(&self) {
        self.0.close();
    }
}

/// The values of a [`Receiver`], until its channel is closed.
#[derive(Debug)]
pub struct ReceiverIter<'a, T>(&'a Receiver<T>);

/// The values of a [`Receiver`] that it owns, until its channel is closed.
#[derive(Debug)]
pub struct ReceiverIntoIter<T>(Receiver<T>);

impl<T: Send> Iterator for ReceiverIter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.next()
    }
}

impl<T: Send> Iterator for ReceiverIntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.next()
    }
}

impl<T: Send> FusedIterator for ReceiverIter<'_, T> {}
impl<T: Send> FusedIterator for ReceiverIntoIter<T> {}

/// As [`Receiver::iter`].
impl<'a, T: Send> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = ReceiverIter<'a, T>;

    fn into_iter(self) -> ReceiverIter<'a, T> {
        ReceiverIter(self)
    }
}

/// As [`Receiver::iter`].
impl<T: Send> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = ReceiverIntoIter<T>;

    fn into_iter(self) -> ReceiverIntoIter<T> {
        ReceiverIntoIter(self)
    }
}

impl<T> Clone for Receiver<T> {
    /// Another handle to the same end. A value goes to one of several receivers.
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}
