//! [`End`]: an end of a channel, whose queue is in the process that made it.
//!
//! An end that crosses to a worker is a number there, with which the worker asks its parent to send, receive or wait
//! (`requests.rs`). A worker that passes on an end of a channel of its own gives the queue to its parent first. So all
//! channels of several processes are at their parent, and outlive the workers.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use super::Handle;
use super::frame::{Kind, invalid};
use super::inbox::wait_until;
use super::link::Link;
use super::pipe::{Message, Pipe, Place, Queue, State, Watch};
use super::requests::RequestId;
use crate::sys::mutex;

/// What an end is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Send = 0,
    Receive = 1,
}

impl Direction {
    pub(super) const BOTH: [Self; 2] = [Self::Send, Self::Receive];
}

/// One end of a channel. Clones are the same end. A forked copy of the process cannot use it.
pub(crate) struct End {
    pipe: Arc<Pipe>,
    direction: Direction,
}

/// What identifies a watch.
pub(super) enum WatchId {
    Here(u64),
    Parent(Arc<Link>, RequestId),
}

/// Where an operation is carried out.
enum Target<'a> {
    Here(MutexGuard<'a, State>),
    Parent(Arc<Link>, u32),
}

impl End {
    /// Makes a channel; returns its sending and its receiving end.
    pub(super) fn pair() -> (Self, Self) {
        let pipe = Pipe::new(Place::Here(Queue::default()), [1, 1]);
        (Self { pipe: Arc::clone(&pipe), direction: Direction::Send }, Self { pipe, direction: Direction::Receive })
    }

    /// An end whose channel is at the parent.
    pub(super) fn at_parent(link: Arc<Link>, id: u32, direction: Direction) -> Self {
        let mut ids = [None; 2];
        let mut count = [0; 2];
        ids[direction as usize] = Some(id);
        count[direction as usize] = 1;
        Self { pipe: Pipe::new(Place::Parent { link, ids, is_moving: false }, count), direction }
    }

    pub(super) fn direction(&self) -> Direction {
        self.direction
    }

    fn target(&self) -> io::Result<Target<'_>> {
        self.pipe.check_owner()?;
        let mut state = self.pipe.lock();
        loop {
            match &state.place {
                Place::Here(_) => return Ok(Target::Here(state)),
                Place::Parent { is_moving: true, .. } => state = mutex::wait(&self.pipe.changed, state),
                Place::Parent { link, ids, .. } => {
                    let id = ids[self.direction as usize].expect("a channel at the parent has the ends that are here");
                    return Ok(Target::Parent(Arc::clone(link), id));
                }
            }
        }
    }

    /// Sends a message if there is space.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is none, and `BrokenPipe` if nobody can receive it.
    pub(super) fn try_send(&self, parts: &[&[u8]], handles: &[&Handle]) -> io::Result<()> {
        let mut state = match self.target()? {
            Target::Here(state) => state,
            Target::Parent(link, id) => return link.request_send(id, parts, handles),
        };
        let has_receiver = state.count[1] > 0;
        let Place::Here(queue) = &mut state.place else { unreachable!("`target` found it") };
        if queue.is_closed || !has_receiver {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if !queue.has_room() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let handles = handles.iter().map(|handle| handle.duplicate()).collect();
        let message = Message { bytes: parts.concat(), handles };
        queue.bytes += message.bytes.len();
        queue.messages.push_back(message);
        self.pipe.announce(state);
        Ok(())
    }

    /// Waits for a message; `None` if there is none and nobody can send one.
    pub(super) fn receive(&self) -> io::Result<Option<Message>> {
        loop {
            if let Target::Parent(link, id) = self.target()? {
                return link.request_receive(id, true);
            }
            match self.try_receive() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(None)?,
                received => return received,
            };
        }
    }

    /// Receives a message; `None` if there is none and nobody can send one.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is none yet.
    pub(super) fn try_receive(&self) -> io::Result<Option<Message>> {
        let mut state = match self.target()? {
            Target::Here(state) => state,
            Target::Parent(link, id) => return link.request_receive(id, false),
        };
        let has_sender = state.count[0] > 0;
        let Place::Here(queue) = &mut state.place else { unreachable!("`target` found it") };
        let Some(message) = queue.messages.pop_front() else {
            return if queue.is_closed || !has_sender { Ok(None) } else { Err(io::ErrorKind::WouldBlock.into()) };
        };
        queue.bytes -= message.bytes.len();
        self.pipe.announce(state);
        Ok(Some(message))
    }

    /// Puts back a message that was received and could not be passed on.
    pub(super) fn put_back(&self, message: Message) {
        if let Ok(Target::Here(mut state)) = self.target()
            && let Place::Here(queue) = &mut state.place
        {
            queue.bytes += message.bytes.len();
            queue.messages.push_front(message);
            self.pipe.announce(state);
        }
    }

    /// Closes the channel for all of its ends. What was sent can still be received.
    pub(super) fn close(&self) {
        match self.target() {
            Err(_) => {}
            Ok(Target::Here(mut state)) => {
                if let Place::Here(queue) = &mut state.place {
                    queue.is_closed = true;
                }
                self.pipe.announce(state);
            }
            Ok(Target::Parent(link, id)) => link.tell(Kind::CLOSE, id, 0),
        }
    }

    /// Waits until an operation does not have to wait; `false` at the deadline.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> io::Result<bool> {
        loop {
            let mut state = match self.target()? {
                Target::Here(state) => state,
                Target::Parent(link, id) => return link.request_wait(id, deadline),
            };
            while !state.is_ready(self.direction) {
                let Some(next) = wait_until(&self.pipe.changed, state, deadline) else { return Ok(false) };
                state = next;
            }
            if matches!(state.place, Place::Here(_)) {
                return Ok(true);
            }
        }
    }

    /// Calls `call` once an operation does not have to wait, perhaps at once.
    pub(super) fn watch(&self, call: Box<dyn FnOnce() + Send>) -> io::Result<WatchId> {
        static NEXT_KEY: AtomicU64 = AtomicU64::new(0);
        let mut state = match self.target()? {
            Target::Here(state) => state,
            Target::Parent(link, id) => {
                let request = link.request_watch(id, call)?;
                return Ok(WatchId::Parent(link, request));
            }
        };
        let key = NEXT_KEY.fetch_add(1, Ordering::Relaxed);
        if state.is_ready(self.direction) {
            drop(state);
            call();
        } else {
            state.watches.push(Watch { key, direction: self.direction, call });
        }
        Ok(WatchId::Here(key))
    }

    /// Ends a watch, if it has not been called.
    pub(super) fn unwatch(&self, id: &WatchId) {
        if self.pipe.check_owner().is_err() {
            return;
        }
        match id {
            WatchId::Here(key) => {
                let removed = {
                    let mut state = self.pipe.lock();
                    let at = state.watches.iter().position(|watch| watch.key == *key);
                    at.map(|at| state.watches.swap_remove(at))
                };
                drop(removed);
            }
            WatchId::Parent(link, request) => link.cancel(*request),
        }
    }

    /// Worker: the number of this end at the parent. Gives a channel of this process to the parent.
    pub(super) fn id_at_parent(&self, link: &Arc<Link>) -> io::Result<u32> {
        self.pipe.check_owner()?;
        let this = |ids: &[Option<u32>; 2]| ids[self.direction as usize].ok_or_else(invalid);
        let mut state = self.pipe.lock();
        if let Place::Parent { ids, .. } = &state.place {
            return this(ids);
        }
        let ids = link.new_ids();
        let place = Place::Parent { link: Arc::clone(link), ids: ids.map(Some), is_moving: true };
        let Place::Here(queue) = std::mem::replace(&mut state.place, place) else { unreachable!("it is here") };
        drop(state);
        // Handles in these messages may be ends of this channel, which have their numbers by now.
        let mut sent = link.send((Kind::ADOPT, ids[0], 0), &[], &[]);
        for message in &queue.messages {
            let handles: Vec<&Handle> = message.handles.iter().collect();
            sent = sent.and_then(|()| link.send((Kind::ADOPT, ids[0], 1), &[&message.bytes], &handles));
        }
        if queue.is_closed {
            link.tell(Kind::CLOSE, ids[0], 0);
        }
        let mut state = self.pipe.lock();
        for direction in Direction::BOTH {
            if state.count[direction as usize] == 0 {
                link.tell(Kind::DROP, ids[direction as usize], 0);
            }
        }
        if let Place::Parent { is_moving, .. } = &mut state.place {
            *is_moving = false;
        }
        self.pipe.announce(state);
        sent.map(|()| ids[self.direction as usize])
    }
}

impl Clone for End {
    fn clone(&self) -> Self {
        if self.pipe.check_owner().is_ok() {
            self.pipe.lock().count[self.direction as usize] += 1;
        }
        Self { pipe: Arc::clone(&self.pipe), direction: self.direction }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if self.pipe.check_owner().is_err() {
            return;
        }
        let direction = self.direction as usize;
        let mut state = self.pipe.lock();
        state.count[direction] -= 1;
        if state.count[direction] > 0 {
            return;
        }
        let no_receiver = state.count[1] == 0;
        let unread = match &mut state.place {
            // What nobody can receive is dropped, without the lock: it may have ends of this channel.
            Place::Here(queue) if no_receiver => std::mem::take(&mut queue.messages),
            Place::Here(_) => VecDeque::new(),
            Place::Parent { is_moving: true, .. } => return,
            Place::Parent { link, ids, .. } => {
                let (link, id) = (Arc::clone(link), ids[direction]);
                drop(state);
                if let Some(id) = id {
                    link.tell(Kind::DROP, id, 0);
                }
                return;
            }
        };
        self.pipe.announce(state);
        drop(unread);
    }
}
