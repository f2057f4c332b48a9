//! Ends of channels. Values wait in memory, between the threads of this process, until an end crosses to another process.
//!
//! An end that is sent to another process gives the channel sockets (`crossing.rs`). Senders use them from then on.
//! Receivers take the values that are still in memory first, and then those in the sockets.

use std::collections::VecDeque;
use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::time::Instant;

#[cfg(feature = "process")]
use super::crossed as sockets;
use super::error::{ChannelError, SendError};
#[cfg(not(feature = "process"))]
use super::never_crossed as sockets;
use super::woken_thread::WokenThread;
use crate::sys::drop_all::DropEach;
use crate::sys::{mutex, reserve, unwind};
use sockets::{Encoded, ReceiveSocket, Received, SendSocket, SocketWatch};

/// The capacity of a channel without one.
const DEFAULT_CAPACITY: usize = 200;

/// What the ends of a channel in this process share.
pub(super) struct Shared<T> {
    state: Mutex<State<T>>,
    /// The values in memory at most.
    pub(super) capacity: usize,
    /// Whether the capacity holds between processes as well, where any channel is bounded by the size of its values.
    #[cfg(feature = "process")]
    pub(super) counts_places: bool,
    /// Held while an end crosses. Values are serialized meanwhile.
    #[cfg(feature = "process")]
    pub(super) crossing: Mutex<()>,
}

pub(super) struct State<T> {
    /// The values in memory.
    pub(super) values: VecDeque<T>,
    /// Whether the values are on their way to a socket. Nothing is sent or received meanwhile.
    pub(super) is_moving: bool,
    /// The ends in this process.
    pub(super) senders: usize,
    pub(super) receivers: usize,
    pub(super) is_closed: bool,
    /// The sockets, once an end has crossed.
    pub(super) sockets: Option<Sockets<T>>,
    /// Those who wait for a place, and those who wait for a value, with their keys.
    to_send: VecDeque<(u64, Waker)>,
    to_receive: VecDeque<(u64, Waker)>,
    next_key: u64,
}

/// The sockets of a channel in this process: each is closed with the last end here that uses it.
pub(super) struct Sockets<T> {
    pub(super) send: Option<Arc<SendSocket<T>>>,
    pub(super) receive: Option<Arc<ReceiveSocket<T>>>,
}

impl<T> State<T> {
    fn new(senders: usize, receivers: usize, sockets: Option<Sockets<T>>) -> Self {
        Self {
            values: VecDeque::new(),
            is_moving: false,
            senders,
            receivers,
            is_closed: false,
            sockets,
            to_send: VecDeque::new(),
            to_receive: VecDeque::new(),
            next_key: 0,
        }
    }

    /// Whether sending to memory fails.
    fn cannot_send(&self) -> bool {
        self.is_closed || self.receivers == 0
    }

    fn has_place(&self, capacity: usize) -> bool {
        !self.is_moving && self.values.len() < capacity
    }

    /// Whether receiving from memory does not have to wait.
    fn can_receive(&self) -> bool {
        !self.is_moving && (!self.values.is_empty() || self.is_closed || self.senders == 0)
    }

    /// Those who wait on a side.
    fn waiting(&mut self, side: Side) -> &mut VecDeque<(u64, Waker)> {
        match side {
            Side::Send => &mut self.to_send,
            Side::Receive => &mut self.to_receive,
        }
    }

    /// Whether those who wait on a side may go on, perhaps with a socket.
    fn is_ready(&self, side: Side, capacity: usize) -> bool {
        match side {
            Side::Send => self.sockets.is_some() || self.cannot_send() || self.has_place(capacity),
            Side::Receive => !self.is_moving && (self.sockets.is_some() || self.can_receive()),
        }
    }

    pub(super) fn send_socket(&self) -> Option<Arc<SendSocket<T>>> {
        self.sockets.as_ref().and_then(|sockets| sockets.send.clone())
    }

    pub(super) fn receive_socket(&self) -> Option<Arc<ReceiveSocket<T>>> {
        self.sockets.as_ref().and_then(|sockets| sockets.receive.clone())
    }
}

impl<T> Shared<T> {
    fn new(capacity: Option<usize>, state: State<T>) -> Self {
        Self {
            state: Mutex::new(state),
            capacity: capacity.unwrap_or(DEFAULT_CAPACITY),
            #[cfg(feature = "process")]
            counts_places: capacity.is_some(),
            #[cfg(feature = "process")]
            crossing: Mutex::new(()),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State<T>> {
        mutex::lock(&self.state)
    }

    /// Changes the state such that all who wait have to look again.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut State<T>) -> R) -> R {
        let mut state = self.lock();
        let result = change(&mut state);
        let (to_send, to_receive) = (take(&mut state.to_send), take(&mut state.to_receive));
        drop(state);
        wake(to_send);
        wake(to_receive);
        result
    }
}

/// Wakes tasks and threads. Wakers are foreign code, so no lock is held, and a panic concerns none of the others.
fn wake(wakers: impl IntoIterator<Item = (u64, Waker)>) {
    wakers.into_iter().for_each(|(_, waker)| unwind::contain(|| waker.wake()));
}

/// A sending end.
pub(super) struct SendEnd<T>(pub(super) Arc<Shared<T>>);

/// A receiving end.
pub(super) struct ReceiveEnd<T>(pub(super) Arc<Shared<T>>);

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

#[cfg(feature = "process")]
impl<T> ReceiveEnd<T> {
    /// The end of a channel of another process.
    pub(super) fn received(receive: ReceiveSocket<T>) -> Self {
        let sockets = Sockets { send: None, receive: Some(Arc::new(receive)) };
        Self(Arc::new(Shared::new(None, State::new(0, 1, Some(sockets)))))
    }
}

/// A value to send, and the bytes of it if it was to go through a socket before.
pub(super) struct Message<T> {
    pub(super) value: T,
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

/// A task that waits for an end, until this is dropped.
#[allow(unreachable_pub, reason = "a sealed trait, which is not reachable either, names it")]
pub struct Watch<'a>(Watched<'a>);

enum Watched<'a> {
    Memory(&'a dyn Unwatch, Side, u64),
    #[allow(dead_code, reason = "it is dropped")]
    Socket(SocketWatch),
    /// It was ready.
    Nothing,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if let Watched::Memory(shared, side, key) = self.0 {
            shared.unwatch(side, key);
        }
    }
}

/// What is waited for.
#[derive(Clone, Copy)]
enum Side {
    Send,
    Receive,
}

/// Removes a waker.
trait Unwatch: Sync {
    fn unwatch(&self, side: Side, key: u64);
}

impl<T: Send> Unwatch for Shared<T> {
    fn unwatch(&self, side: Side, key: u64) {
        let mut state = self.lock();
        let waiting = state.waiting(side);
        let removed = waiting.iter().position(|(other, _)| *other == key).and_then(|index| waiting.remove(index));
        // It was woken, and may not have taken what it was woken for: then another one does.
        let next = if removed.is_none() && state.is_ready(side, self.capacity) {
            state.waiting(side).pop_front()
        } else {
            None
        };
        drop(state);
        wake(next);
        // Dropping a waker is foreign code as well.
        unwind::discard(removed);
    }
}

impl<T: Send> Shared<T> {
    /// Wakes a task once it may go on, perhaps now.
    fn watch(&self, side: Side, waker: &Waker) -> Watch<'_> {
        let waker = waker.clone();
        let mut state = reserve::lock_with_capacity(|| self.lock(), |state| state.waiting(side), 1);
        if state.is_ready(side, self.capacity) {
            drop(state);
            waker.wake();
            return Watch(Watched::Nothing);
        }
        let key = state.next_key;
        state.next_key += 1;
        state.waiting(side).push_back((key, waker));
        Watch(Watched::Memory(self, side, key))
    }
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
        if state.is_moving {
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
                    self.0.skip(socket, &next);
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
        if state.is_moving || !state.values.is_empty() { None } else { state.receive_socket() }
    }
}

impl<T> Shared<T> {
    /// Goes on with the next socket after one that has ended.
    fn skip(&self, ended: &Arc<ReceiveSocket<T>>, next: &Arc<ReceiveSocket<T>>) {
        let mut state = self.lock();
        let current = state.sockets.as_mut().and_then(|sockets| sockets.receive.as_mut());
        let before = current
            .filter(|current| Arc::ptr_eq(current, ended))
            .map(|current| std::mem::replace(current, Arc::clone(next)));
        drop(state);
        drop(before);
    }

    fn close(&self) {
        let sockets = self.change(|state| {
            state.is_closed = true;
            (state.send_socket(), state.receive_socket())
        });
        match sockets {
            (Some(send), _) => send.close(),
            (None, Some(receive)) => receive.close(),
            (None, None) => {}
        }
    }
}

impl<T> SendEnd<T> {
    pub(super) fn close(&self) {
        self.0.close();
    }
}

impl<T> ReceiveEnd<T> {
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

impl<T> Clone for ReceiveEnd<T> {
    fn clone(&self) -> Self {
        self.0.lock().receivers += 1;
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
