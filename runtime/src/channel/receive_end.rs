//! [`ReceiveEnd`]: a receiving end in this process. It takes the values in memory first, and then those in the sockets.

use std::mem::take;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

#[cfg(feature = "process")]
use super::crossed as sockets;
use super::error::ChannelError;
#[cfg(not(feature = "process"))]
use super::never_crossed as sockets;
use super::state::{Shared, Side, Watch, Watched, wake};
#[cfg(feature = "process")]
use super::state::{Sockets, State};
use super::woken_thread::WokenThread;
use crate::sys::drop_all::DropEach;
use sockets::{ReceiveSocket, Received};

/// A receiving end.
pub(super) struct ReceiveEnd<T>(pub(super) Arc<Shared<T>>);

#[cfg(feature = "process")]
impl<T> ReceiveEnd<T> {
    /// The end of a channel of another process.
    pub(super) fn received(receive: ReceiveSocket<T>) -> Self {
        let sockets = Sockets { send: None, receive: Some(Arc::new(receive)) };
        Self(Arc::new(Shared::new(None, State::new(0, 1, Some(sockets)))))
    }
}

/// Where the next value of a channel comes from.
enum Source<T> {
    Value(T),
    /// It is on its way to a socket, or there is none.
    None,
    Socket(Arc<ReceiveSocket<T>>),
}

impl<T: Send> ReceiveEnd<T> {
    /// Takes a value from memory, or the socket that comes after that.
    fn take(&self) -> Result<Source<T>, ChannelError> {
        let mut state = self.0.lock();
        if state.is_moving() {
            return Ok(Source::None);
        }
        let socket = state.receive_socket();
        let Some(value) = state.values.pop_front() else {
            return match socket {
                Some(socket) => Ok(Source::Socket(socket)),
                None if state.can_receive() => Err(ChannelError::Closed),
                None => Ok(Source::None),
            };
        };
        let next = state.to_send.pop_front();
        drop(state);
        wake(next);
        if let Some(socket) = socket {
            socket.free_place();
        }
        Ok(Source::Value(value))
    }

    /// Receives from a socket; `None` if there is nothing now.
    fn take_from(&self, socket: &Arc<ReceiveSocket<T>>, wait: bool) -> Result<Option<T>, ChannelError> {
        match socket.receive(wait)? {
            Received::Value(value) => Ok(Some(value)),
            Received::Nothing => Ok(None),
            Received::End => match socket.next() {
                None => Err(ChannelError::Closed),
                Some(next) => {
                    if self.0.skip(socket, &next) {
                        socket.check_end()?;
                    }
                    // No loop: there are two sockets at most.
                    self.take_from(&next, wait)
                }
            },
        }
    }

    pub(super) fn try_recv(&self) -> Result<Option<T>, ChannelError> {
        match self.take()? {
            Source::Value(value) => Ok(Some(value)),
            Source::None => Ok(None),
            Source::Socket(socket) => self.take_from(&socket, false),
        }
    }

    /// Waits for a value.
    pub(super) fn recv(&self) -> Result<T, ChannelError> {
        let thread = WokenThread::this();
        let waker = Waker::from(Arc::clone(&thread));
        let mut watch = None;
        loop {
            match self.take()? {
                Source::Value(value) => return Ok(value),
                Source::Socket(socket) => {
                    if let Some(value) = self.take_from(&socket, true)? {
                        return Ok(value);
                    }
                }
                Source::None => {
                    // The watch before has done its part, and tells no other of the value that was taken meanwhile.
                    drop(watch.take());
                    watch = Some(self.0.watch(Side::Receive, &waker));
                    thread.wait(None);
                }
            }
        }
    }

    /// Waits until a value can be received, or the channel is closed; `None` at the deadline. The watch lives until the
    /// value is taken, as that of a sender.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> Result<Option<Watch<'_>>, ChannelError> {
        if let Some(socket) = self.socket() {
            return Ok(socket.wait(deadline)?.then_some(Watch(Watched::Nothing)));
        }
        let thread = WokenThread::this();
        let watch = self.0.watch(Side::Receive, &Waker::from(Arc::clone(&thread)));
        Ok(thread.wait(deadline).then_some(watch))
    }

    /// Whether a value can be received, or the channel is closed.
    pub(super) fn is_ready(&self) -> bool {
        match self.socket() {
            Some(socket) => socket.wait(Some(Instant::now())).unwrap_or(true),
            None => self.0.lock().can_receive(),
        }
    }

    /// Wakes a task once a value can be received, or the channel is closed.
    pub(super) fn watch(&self, waker: &Waker) -> Result<Watch<'_>, ChannelError> {
        match self.socket() {
            Some(socket) => Ok(Watch(Watched::Socket(socket.watch(waker)?))),
            None => Ok(self.0.watch(Side::Receive, waker)),
        }
    }

    /// The socket, if the next value comes from there.
    fn socket(&self) -> Option<Arc<ReceiveSocket<T>>> {
        let state = self.0.lock();
        if state.is_moving() || !state.values.is_empty() { None } else { state.receive_socket() }
    }
}

impl<T> ReceiveEnd<T> {
    pub(super) fn close(&self) {
        self.0.close();
    }
}

impl<T> Clone for ReceiveEnd<T> {
    fn clone(&self) -> Self {
        self.0.lock().receivers += 1;
        Self(Arc::clone(&self.0))
    }
}

/// The last receiver drops the values in memory, which nobody will receive.
impl<T> Drop for ReceiveEnd<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.receivers -= 1;
        if state.receivers > 0 {
            return;
        }
        drop(state);
        let (values, socket) = self.0.change(|state| {
            (take(&mut state.values), state.sockets.as_mut().and_then(|sockets| sockets.receive.take()))
        });
        drop(socket);
        drop(DropEach(Vec::from(values)));
    }
}
