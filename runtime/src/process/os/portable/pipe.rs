//! [`Pipe`]: a channel of several processes, a bounded queue of messages.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::Handle;
use super::end::Direction;
use super::link::Link;
use crate::sys::mutex;
use crate::sys::owner::Owner;

/// The messages that wait in a channel at most, as in a socket of Linux: 278 without contents.
const MAX_MESSAGES: usize = 256;
/// The bytes that wait in a channel before a sender waits. One more message of 64 KiB makes 200 kB, as
/// on Linux.
const MAX_BYTES: usize = 140_000;

/// A message in a channel.
#[derive(Default)]
pub(super) struct Message {
    pub(super) bytes: Vec<u8>,
    pub(super) handles: Vec<Handle>,
}

/// A channel, or what a worker knows of a channel at its parent.
pub(super) struct Pipe {
    /// The process that has the queue, or the connection to it.
    owner: Owner,
    state: Mutex<State>,
    pub(super) changed: Condvar,
}

pub(super) struct State {
    /// The ends of each direction in this process.
    pub(super) count: [usize; 2],
    pub(super) place: Place,
    pub(super) watches: Vec<Watch>,
}

/// Where the messages are.
pub(super) enum Place {
    Here(Queue),
    /// At the parent, under these numbers. While they are on their way there, nothing is sent or received.
    Parent {
        link: Arc<Link>,
        ids: [Option<u32>; 2],
        is_moving: bool,
    },
}

#[derive(Default)]
pub(super) struct Queue {
    pub(super) messages: VecDeque<Message>,
    pub(super) bytes: usize,
    pub(super) is_closed: bool,
}

/// A call when an end is ready.
pub(super) struct Watch {
    pub(super) key: u64,
    pub(super) direction: Direction,
    pub(super) call: Box<dyn FnOnce() + Send>,
}

impl State {
    /// Whether an operation in this direction does not have to wait.
    pub(super) fn is_ready(&self, direction: Direction) -> bool {
        let Place::Here(queue) = &self.place else { return true };
        match direction {
            Direction::Send => queue.is_closed || self.count[1] == 0 || queue.has_room(),
            Direction::Receive => queue.is_closed || self.count[0] == 0 || !queue.messages.is_empty(),
        }
    }
}

impl Queue {
    /// Whether there is space for any message, so that who has waited for space gets it.
    pub(super) fn has_room(&self) -> bool {
        self.messages.is_empty() || (self.messages.len() < MAX_MESSAGES && self.bytes < MAX_BYTES)
    }
}

impl Pipe {
    /// A pipe with so many ends of each direction.
    pub(super) fn new(place: Place, count: [usize; 2]) -> Arc<Self> {
        let state = Mutex::new(State { count, place, watches: Vec::new() });
        Arc::new(Self { owner: Owner::this_process(), state, changed: Condvar::new() })
    }

    /// A forked copy of the process has a copy of the queue, whose lock another thread may have held: what is sent
    /// there would be lost.
    ///
    /// # Errors
    ///
    /// In a forked copy.
    pub(super) fn check_owner(&self) -> io::Result<()> {
        if self.owner.is_this_process() {
            return Ok(());
        }
        Err(io::Error::other(
            "this process was forked from the one that has the channel, and cannot use it on this system: use the \
             channel in the process itself, or in a process function",
        ))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        mutex::lock(&self.state)
    }

    /// Wakes those who wait, after a change. Their code runs without the lock.
    pub(super) fn announce(&self, mut state: MutexGuard<'_, State>) {
        let mut ready = Vec::new();
        for direction in Direction::BOTH {
            if !state.watches.is_empty() && state.is_ready(direction) {
                ready.extend(state.watches.extract_if(.., |watch| watch.direction == direction));
            }
        }
        drop(state);
        self.changed.notify_all();
        ready.into_iter().for_each(|watch| (watch.call)());
    }
}
