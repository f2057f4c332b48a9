//! The sending ends of channels; `receive_end.rs` has the receiving ones. Values wait in memory, between the threads of
//! this process, until an end crosses to another one.
//!
//! An end that is sent to another process gives the channel sockets (`crossing.rs`). Senders use them from then on.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

#[cfg(feature = "process")]
use super::crossed as sockets;
use super::error::{ChannelError, SendError};
#[cfg(not(feature = "process"))]
use super::never_crossed as sockets;
use super::receive_end::ReceiveEnd;
#[cfg(feature = "process")]
use super::state::Sockets;
use super::state::{Shared, Side, State, Watch, Watched, wake};
use super::woken_thread::WokenThread;
use crate::sys::reserve;
use sockets::Encoded;
#[cfg(feature = "process")]
use sockets::SendSocket;

/// A sending end.
pub(super) struct SendEnd<T>(pub(super) Arc<Shared<T>>);

/// Makes a channel, with at most `capacity` values in it.
pub(super) fn ends<T: Send>(capacity: Option<usize>) -> (SendEnd<T>, ReceiveEnd<T>) {
    let shared = Arc::new(Shared::new(capacity, State::new(1, 1, None)));
    (SendEnd(Arc::clone(&shared)), ReceiveEnd(shared))
}

#[cfg(feature = "process")]
impl<T> SendEnd<T> {
    /// The end of a channel of another process.
    pub(super) fn received(send: SendSocket<T>) -> Self {
        let sockets = Sockets { send: Some(Arc::new(send)), receive: None };
        Self(Arc::new(Shared::new(None, State::new(1, 0, Some(sockets)))))
    }
}

/// A value to send, and the bytes of it if it was to go through a socket before.
pub(super) struct Message<T> {
    pub(super) value: T,
    #[cfg_attr(not(feature = "process"), allow(dead_code, reason = "channels between processes"))]
    pub(super) encoded: Option<Encoded>,
}

impl<T: Send> Message<T> {
    pub(super) fn new(value: T) -> Self {
        Self { value, encoded: None }
    }

    pub(super) fn into_error(self, error: ChannelError) -> SendError<T> {
        SendError { value: self.value, error }
    }
}

/// What was full.
pub(super) enum Full {
    /// The queue in memory.
    Memory,
    /// The channel between processes, by its capacity.
    #[cfg_attr(not(feature = "process"), allow(dead_code, reason = "channels between processes"))]
    Places,
    /// The socket.
    #[cfg_attr(not(feature = "process"), allow(dead_code, reason = "channels between processes"))]
    Socket,
}

/// Why a message was not sent.
pub(super) enum Refused {
    Full(Full),
    Failed(ChannelError),
}

impl<T: Send> SendEnd<T> {
    /// Sends a message if there is a place.
    pub(super) fn try_send(&self, message: Message<T>) -> Result<(), (Refused, Message<T>)> {
        let mut state = reserve::lock_with_capacity(|| self.0.lock(), |state| &mut state.values, 1);
        if let Some(socket) = state.send_socket() {
            drop(state);
            return socket.try_send(message);
        }
        if state.cannot_send() {
            return Err((Refused::Failed(ChannelError::Closed), message));
        }
        if !state.has_place(self.0.capacity) {
            return Err((Refused::Full(Full::Memory), message));
        }
        state.values.push_back(message.value);
        let next = state.to_receive.pop_front();
        drop(state);
        wake(next);
        Ok(())
    }

    /// Waits until there may be a place; `None` at the deadline. The watch lives until the place is taken, or is found
    /// to be taken: others are woken for it otherwise.
    pub(super) fn wait(&self, full: &Full, deadline: Option<Instant>) -> Result<Option<Watch<'_>>, ChannelError> {
        let socket = self.0.lock().send_socket();
        if let Some(socket) = socket {
            return Ok(socket.wait(full, deadline)?.then_some(Watch(Watched::Nothing)));
        }
        let thread = WokenThread::this();
        let watch = self.0.watch(Side::Send, &Waker::from(Arc::clone(&thread)));
        Ok(thread.wait(deadline).then_some(watch))
    }

    /// Wakes a task once there may be a place.
    pub(super) fn watch(&self, full: &Full, waker: &Waker) -> Result<Watch<'_>, ChannelError> {
        let socket = self.0.lock().send_socket();
        match socket {
            Some(socket) => Ok(Watch(socket.watch(full, waker)?.map_or(Watched::Nothing, Watched::Socket))),
            None => Ok(self.0.watch(Side::Send, waker)),
        }
    }
}

impl<T> SendEnd<T> {
    pub(super) fn close(&self) {
        self.0.close();
    }
}

impl<T> Clone for SendEnd<T> {
    fn clone(&self) -> Self {
        self.0.lock().senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for SendEnd<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.senders -= 1;
        if state.senders > 0 {
            return;
        }
        drop(state);
        let socket = self.0.change(|state| state.sockets.as_mut().and_then(|sockets| sockets.send.take()));
        drop(socket);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn send<T: Send>(sender: &SendEnd<T>, value: T) -> Result<(), SendError<T>> {
        let mut message = Message::new(value);
        loop {
            message = match sender.try_send(message) {
                Ok(()) => return Ok(()),
                Err((Refused::Full(full), message)) => {
                    assert!(sender.wait(&full, None).expect("no system call").is_some());
                    message
                }
                Err((Refused::Failed(error), message)) => return Err(message.into_error(error)),
            };
        }
    }

    #[test]
    fn every_value_goes_to_one_receiver_and_senders_wait_for_places() {
        let (sender, receiver) = ends::<Option<usize>>(Some(3));
        let sum = thread::scope(|scope| {
            let receive = |receiver: ReceiveEnd<Option<usize>>| {
                let mut sum = 0;
                loop {
                    match receiver.recv() {
                        Ok(value) => sum += value.unwrap_or(0),
                        Err(error) => {
                            assert_eq!(error, ChannelError::Closed);
                            break sum;
                        }
                    }
                }
            };
            let receivers = [receiver.clone(), receiver].map(|receiver| scope.spawn(move || receive(receiver)));
            for sender in [sender.clone(), sender.clone(), sender] {
                scope.spawn(move || (0..500).for_each(|n| send(&sender, Some(n)).expect("there are receivers")));
            }
            receivers.map(|receiver| receiver.join().expect("no panic")).into_iter().sum::<usize>()
        });
        assert_eq!(sum, 3 * (0..500).sum::<usize>());
    }

    #[test]
    fn the_last_receiver_wakes_senders_and_drops_values() {
        let alive = Arc::new(());
        let (sender, receiver) = ends(Some(1));
        send(&sender, Some(Arc::clone(&alive))).expect("there is a place");
        let soon = Some(Instant::now() + Duration::from_millis(1));
        assert!(sender.wait(&Full::Memory, soon).expect("no system call").is_none());
        thread::scope(|scope| {
            let waiting = scope.spawn(|| send(&sender, Some(Arc::clone(&alive))));
            drop(receiver);
            let unsent = waiting.join().expect("no panic").expect_err("there is no receiver");
            assert_eq!(unsent.error, ChannelError::Closed);
        });
        assert_eq!(Arc::strong_count(&alive), 1);
    }

    #[test]
    fn a_watch_that_is_dropped_leaves_no_waker() {
        let (sender, receiver) = ends::<u8>(None);
        let waker = Waker::from(WokenThread::this());
        drop((receiver.watch(&waker), receiver.watch(&waker)));
        assert!(receiver.0.lock().to_receive.is_empty() && !receiver.is_ready());
        sender.close();
        assert!(receiver.is_ready() && receiver.try_recv() == Err(ChannelError::Closed));
    }
}
