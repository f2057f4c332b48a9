//! Ends of channels between threads, which need nothing of the system.

use std::collections::VecDeque;
use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::time::Instant;

use super::error::{ChannelError, SendError};
use super::woken_thread::WokenThread;
use crate::sys::drop_all::{DropEach, DropSequence};
use crate::sys::{mutex, reserve};

/// The largest capacity, and that of a channel without one: about as many small values as a channel between processes
/// holds.
pub(super) const MAX_CAPACITY: usize = 200;

/// What both sides share.
struct Shared<T> {
    state: Mutex<State<T>>,
    capacity: usize,
}

struct State<T> {
    values: VecDeque<T>,
    senders: usize,
    receivers: usize,
    is_closed: bool,
    /// Those who wait for a place, and those who wait for a value. All are woken when one may go on.
    to_send: Vec<(u64, Waker)>,
    to_receive: Vec<(u64, Waker)>,
    next_key: u64,
}

impl<T> State<T> {
    fn cannot_send(&self) -> bool {
        self.is_closed || self.receivers == 0
    }

    fn cannot_come(&self) -> bool {
        self.is_closed || self.senders == 0
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        mutex::lock(&self.state)
    }
}

/// Wakes all of them, even if a waker panics. Wakers are foreign code, so the lock is released first.
fn wake(wakers: Vec<(u64, Waker)>) {
    let mut wakes = DropSequence::default();
    wakers.into_iter().for_each(|(_, waker)| wakes.run(|| waker.wake()));
    wakes.finish();
}

/// A sending end.
pub(super) struct SendEnd<T>(Arc<Shared<T>>);

/// A receiving end.
pub(super) struct ReceiveEnd<T>(Arc<Shared<T>>);

/// Makes a channel, with at most `capacity` values in it.
pub(super) fn ends<T: Send>(capacity: Option<usize>) -> (SendEnd<T>, ReceiveEnd<T>) {
    let state = State {
        values: VecDeque::new(),
        senders: 1,
        receivers: 1,
        is_closed: false,
        to_send: Vec::new(),
        to_receive: Vec::new(),
        next_key: 0,
    };
    let capacity = capacity.unwrap_or(MAX_CAPACITY).min(MAX_CAPACITY);
    let shared = Arc::new(Shared { state: Mutex::new(state), capacity });
    (SendEnd(Arc::clone(&shared)), ReceiveEnd(shared))
}

/// A value to send.
pub(super) struct Message<T>(T);

impl<T: Send> Message<T> {
    #[allow(clippy::unnecessary_wraps, reason = "between processes a value must be serialized")]
    pub(super) fn new(value: T) -> Result<Self, SendError<T>> {
        Ok(Self(value))
    }

    pub(super) fn into_value(self) -> T {
        self.0
    }
}

/// The channel was full.
pub(super) struct Full;

/// Why a message was not sent.
pub(super) enum Refused {
    Full(Full),
    Failed(ChannelError),
}

/// A task that waits for an end, until this is dropped.
#[allow(unreachable_pub, reason = "a sealed trait, which is not reachable either, names it")]
pub struct Watch<'a>(Option<(&'a dyn Unwatch, u64)>);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if let Some((shared, key)) = self.0 {
            shared.unwatch(key);
        }
    }
}

/// Removes a waker.
trait Unwatch: Sync {
    fn unwatch(&self, key: u64);
}

impl<T: Send> Unwatch for Shared<T> {
    fn unwatch(&self, key: u64) {
        let mut state = self.lock();
        let State { to_send, to_receive, .. } = &mut *state;
        let remove = |wakers: &mut Vec<(u64, Waker)>| {
            wakers.iter().position(|(other, _)| *other == key).map(|index| wakers.swap_remove(index))
        };
        let removed = remove(to_send).or_else(|| remove(to_receive));
        drop(state);
        // Dropping a waker is foreign code as well.
        drop(removed);
    }
}

impl<T: Send> Shared<T> {
    /// Adds a waker to a list, unless `is_ready` holds: then it is woken now.
    fn watch(
        &self,
        waker: &Waker,
        list: impl Fn(&mut State<T>) -> &mut Vec<(u64, Waker)>,
        is_ready: impl FnOnce(&State<T>) -> bool,
    ) -> Watch<'_> {
        let waker = waker.clone();
        let mut state = reserve::lock_with_capacity(|| self.lock(), &list, 1);
        if is_ready(&state) {
            drop(state);
            waker.wake();
            return Watch(None);
        }
        let key = state.next_key;
        state.next_key += 1;
        list(&mut state).push((key, waker));
        let shared: &dyn Unwatch = self;
        Watch(Some((shared, key)))
    }
}

impl<T: Send> SendEnd<T> {
    /// Sends a message if there is a place.
    pub(super) fn try_send(&self, message: Message<T>) -> Result<(), (Refused, Message<T>)> {
        let Shared { capacity, .. } = *self.0;
        let mut state = reserve::lock_with_capacity(|| self.0.lock(), |state| &mut state.values, 1);
        if state.cannot_send() {
            return Err((Refused::Failed(ChannelError::Closed), message));
        }
        if state.values.len() >= capacity {
            return Err((Refused::Full(Full), message));
        }
        state.values.push_back(message.0);
        let wakers = take(&mut state.to_receive);
        drop(state);
        wake(wakers);
        Ok(())
    }

    /// Waits until there may be a place; `false` at the deadline.
    pub(super) fn wait(&self, full: &Full, deadline: Option<Instant>) -> Result<bool, ChannelError> {
        let thread = WokenThread::this();
        let _watch = self.watch(full, &Waker::from(Arc::clone(&thread)))?;
        Ok(thread.wait(deadline))
    }

    /// Wakes a task once there may be a place.
    #[allow(clippy::unnecessary_wraps, reason = "between processes the system may refuse")]
    pub(super) fn watch(&self, _: &Full, waker: &Waker) -> Result<Watch<'_>, ChannelError> {
        let Shared { capacity, .. } = *self.0;
        let can_send = |state: &State<T>| state.cannot_send() || state.values.len() < capacity;
        Ok(self.0.watch(waker, |state| &mut state.to_send, can_send))
    }
}

impl<T: Send> ReceiveEnd<T> {
    pub(super) fn try_recv(&self) -> Result<Option<T>, ChannelError> {
        let mut state = self.0.lock();
        let Some(value) = state.values.pop_front() else {
            return if state.cannot_come() { Err(ChannelError::Closed) } else { Ok(None) };
        };
        let wakers = take(&mut state.to_send);
        drop(state);
        wake(wakers);
        Ok(Some(value))
    }

    /// Waits for a value.
    pub(super) fn recv(&self) -> Result<T, ChannelError> {
        loop {
            if let Some(value) = self.try_recv()? {
                return Ok(value);
            }
            self.wait(None)?;
        }
    }

    /// Waits until a value can be received, or the channel is closed; `false` at the deadline.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> Result<bool, ChannelError> {
        let thread = WokenThread::this();
        let _watch = self.watch(&Waker::from(Arc::clone(&thread)))?;
        Ok(thread.wait(deadline))
    }

    /// Whether a value can be received, or the channel is closed.
    pub(super) fn is_ready(&self) -> bool {
        let state = self.0.lock();
        !state.values.is_empty() || state.cannot_come()
    }

    /// Wakes a task once a value can be received, or the channel is closed.
    #[allow(clippy::unnecessary_wraps, reason = "between processes the system may refuse")]
    pub(super) fn watch(&self, waker: &Waker) -> Result<Watch<'_>, ChannelError> {
        let can_receive = |state: &State<T>| !state.values.is_empty() || state.cannot_come();
        Ok(self.0.watch(waker, |state| &mut state.to_receive, can_receive))
    }
}

impl<T> Shared<T> {
    /// Changes the state such that those who wait may have to go on.
    fn end(&self, change: impl FnOnce(&mut State<T>) -> VecDeque<T>) {
        let mut state = self.lock();
        let values = change(&mut state);
        let (to_send, to_receive) = (take(&mut state.to_send), take(&mut state.to_receive));
        drop(state);
        let values = DropEach(Vec::from(values));
        wake(to_send);
        wake(to_receive);
        drop(values);
    }

    fn close(&self) {
        self.end(|state| {
            state.is_closed = true;
            VecDeque::new()
        });
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
        self.0.end(|state| {
            state.senders -= 1;
            VecDeque::new()
        });
    }
}

/// The last receiver drops the values that nobody will receive.
impl<T> Drop for ReceiveEnd<T> {
    fn drop(&mut self) {
        self.0.end(|state| {
            state.receivers -= 1;
            if state.receivers == 0 { take(&mut state.values) } else { VecDeque::new() }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn send<T: Send>(sender: &SendEnd<T>, value: T) -> Result<(), SendError<T>> {
        let mut message = Message::new(value)?;
        loop {
            message = match sender.try_send(message) {
                Ok(()) => return Ok(()),
                Err((Refused::Full(full), message)) => {
                    assert!(sender.wait(&full, None).expect("no system call"));
                    message
                }
                Err((Refused::Failed(error), message)) => return Err(SendError { value: message.into_value(), error }),
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
        assert!(!sender.wait(&Full, Some(Instant::now() + Duration::from_millis(1))).expect("no system call"));
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
