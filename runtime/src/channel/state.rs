//! [`Shared`]: the state of a channel in this process, and those who wait for it to change.
//!
//! Each value or place wakes one of those who wait. One who goes without having taken it passes the wake on.

use std::collections::VecDeque;
use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;

#[cfg(feature = "process")]
use super::crossed as sockets;
#[cfg(not(feature = "process"))]
use super::never_crossed as sockets;
#[cfg(feature = "process")]
use crate::process::ChannelSocket;
#[cfg(feature = "process")]
use crate::shared::Flag;
use crate::sys::{mutex, reserve, unwind};
use sockets::{ReceiveSocket, SendSocket, SocketWatch};

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
    /// Held while sockets are made, filled and given to the channel: system calls alone, no code of values or wakers.
    #[cfg(feature = "process")]
    pub(super) crossing: Mutex<()>,
}

pub(super) struct State<T> {
    /// The values in memory.
    pub(super) values: VecDeque<T>,
    /// The number of values on their way to a socket, while a receiver crosses. Until it has, nothing is sent to
    /// memory, and nothing is received.
    pub(super) moving: Option<usize>,
    /// How they reach receivers that crossed meanwhile.
    #[cfg(feature = "process")]
    pub(super) promise: Option<Promise<T>>,
    /// The ends in this process.
    pub(super) senders: usize,
    pub(super) receivers: usize,
    pub(super) is_closed: bool,
    /// The sockets, once an end has crossed.
    pub(super) sockets: Option<Sockets<T>>,
    /// Those who wait for a place, and those who wait for a value, with their keys.
    pub(super) to_send: VecDeque<(u64, Waker)>,
    pub(super) to_receive: VecDeque<(u64, Waker)>,
    next_key: u64,
}

/// The sockets of a channel in this process: each is closed with the last end here that uses it.
pub(super) struct Sockets<T> {
    pub(super) send: Option<Arc<SendSocket<T>>>,
    pub(super) receive: Option<Arc<ReceiveSocket<T>>>,
}

/// The way of values that are still being serialized.
#[cfg(feature = "process")]
pub(super) struct Promise<T> {
    /// Where they will be sent to. `None` once that has begun.
    pub(super) feed: Option<ChannelSocket>,
    pub(super) all_sent: Flag,
    /// Where receivers find them, before all others.
    pub(super) receive: Arc<ReceiveSocket<T>>,
}

#[cfg(feature = "process")]
impl<T> Promise<T> {
    /// What sending the values needs, once.
    pub(super) fn begin(&mut self) -> Option<(ChannelSocket, Flag, Arc<ReceiveSocket<T>>)> {
        self.feed.take().map(|feed| (feed, self.all_sent.clone(), Arc::clone(&self.receive)))
    }
}

impl<T> State<T> {
    pub(super) fn new(senders: usize, receivers: usize, sockets: Option<Sockets<T>>) -> Self {
        Self {
            values: VecDeque::new(),
            moving: None,
            #[cfg(feature = "process")]
            promise: None,
            senders,
            receivers,
            is_closed: false,
            sockets,
            to_send: VecDeque::new(),
            to_receive: VecDeque::new(),
            next_key: 0,
        }
    }

    pub(super) fn is_moving(&self) -> bool {
        self.moving.is_some()
    }

    /// Whether sending to memory fails.
    pub(super) fn cannot_send(&self) -> bool {
        self.is_closed || self.receivers == 0
    }

    pub(super) fn has_place(&self, capacity: usize) -> bool {
        !self.is_moving() && self.values.len() < capacity
    }

    /// Whether receiving from memory does not have to wait.
    pub(super) fn can_receive(&self) -> bool {
        !self.is_moving() && (!self.values.is_empty() || self.is_closed || self.senders == 0)
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
            Side::Receive => !self.is_moving() && (self.sockets.is_some() || self.can_receive()),
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
    pub(super) fn new(capacity: Option<usize>, state: State<T>) -> Self {
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
        let (result, waiting) = self.change_and_wake_later(change);
        waiting.wake();
        result
    }

    /// As [`change`](Self::change), for a caller that holds a lock: it wakes those who wait when it has let go of it.
    pub(super) fn change_and_wake_later<R>(&self, change: impl FnOnce(&mut State<T>) -> R) -> (R, Waiting) {
        let mut state = self.lock();
        let result = change(&mut state);
        (result, Waiting { to_send: take(&mut state.to_send), to_receive: take(&mut state.to_receive) })
    }
}

/// Those who waited for a state that has changed.
#[derive(Default)]
#[must_use = "they sleep on if nothing wakes them"]
pub(super) struct Waiting {
    to_send: VecDeque<(u64, Waker)>,
    to_receive: VecDeque<(u64, Waker)>,
}

impl Waiting {
    pub(super) fn wake(self) {
        wake(self.to_send);
        wake(self.to_receive);
    }
}

/// Wakes tasks and threads. Wakers are foreign code, so no lock is held, and a panic concerns none of the others.
pub(super) fn wake(wakers: impl IntoIterator<Item = (u64, Waker)>) {
    wakers.into_iter().for_each(|(_, waker)| unwind::contain(|| waker.wake()));
}

/// A task that waits for an end, until this is dropped.
#[allow(unreachable_pub, reason = "a sealed trait, which is not reachable either, names it")]
pub struct Watch<'a>(pub(super) Watched<'a>);

pub(super) enum Watched<'a> {
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
pub(super) enum Side {
    Send,
    Receive,
}

/// Removes a waker.
pub(super) trait Unwatch: Sync {
    fn unwatch(&self, side: Side, key: u64);
}

impl<T: Send> Unwatch for Shared<T> {
    fn unwatch(&self, side: Side, key: u64) {
        let mut state = self.lock();
        let waiting = state.waiting(side);
        // The keys rise, so a wait that ends among many others is found at once.
        let found = waiting.binary_search_by_key(&key, |(key, _)| *key);
        let removed = found.ok().and_then(|index| waiting.remove(index));
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
    pub(super) fn watch(&self, side: Side, waker: &Waker) -> Watch<'_> {
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

impl<T> Shared<T> {
    /// Goes on with the next socket after one that has ended; `false` if another thread has.
    pub(super) fn skip(&self, ended: &Arc<ReceiveSocket<T>>, next: &Arc<ReceiveSocket<T>>) -> bool {
        let mut state = self.lock();
        let current = state.sockets.as_mut().and_then(|sockets| sockets.receive.as_mut());
        let before = current
            .filter(|current| Arc::ptr_eq(current, ended))
            .map(|current| std::mem::replace(current, Arc::clone(next)));
        drop(state);
        before.is_some()
    }

    pub(super) fn close(&self) {
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
