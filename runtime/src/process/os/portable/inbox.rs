//! [`Inbox`]: what has come through a connection and was not taken yet.

use std::collections::VecDeque;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::Handle;
use super::frame::invalid;
use crate::sys::mutex;

/// What a side may have sent that the other has not taken: a sound process sends less before an answer comes.
const MAX_UNREAD_BYTES: usize = 1 << 16;
const MAX_UNREAD_HANDLES: usize = 1024;
/// The time that a thread may take to read what was sent, on an overloaded machine.
pub(super) const HANDLE_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    bytes: VecDeque<u8>,
    handles: VecDeque<Handle>,
    has_rung: bool,
    is_closed: bool,
}

impl Inbox {
    /// Adds what came.
    pub(super) fn add(&self, bytes: Vec<u8>, handles: Vec<Handle>) -> io::Result<()> {
        let mut state = mutex::lock(&self.state);
        state.bytes.extend(bytes);
        state.handles.extend(handles);
        if state.bytes.len() > MAX_UNREAD_BYTES || state.handles.len() > MAX_UNREAD_HANDLES {
            return Err(invalid());
        }
        drop(state);
        self.arrived.notify_all();
        Ok(())
    }

    /// The other side is gone.
    pub(super) fn close(&self) {
        mutex::lock(&self.state).is_closed = true;
        self.arrived.notify_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        mutex::lock(&self.state).is_closed
    }

    /// Wakes the thread in [`sleep`](Self::sleep).
    pub(super) fn ring(&self) {
        mutex::lock(&self.state).has_rung = true;
        self.arrived.notify_all();
    }

    /// Takes bytes that came, and the handles that came with them; 0 if the other side is gone. Waits for them.
    pub(super) fn take(&self, bytes: &mut [u8], handles: &mut VecDeque<Handle>, wait: bool) -> io::Result<usize> {
        let mut state = mutex::lock(&self.state);
        while state.bytes.is_empty() && !state.is_closed {
            if !wait {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            state = mutex::wait(&self.arrived, state);
        }
        handles.append(&mut state.handles);
        let len = bytes.len().min(state.bytes.len());
        for (byte, came) in bytes.iter_mut().zip(state.bytes.drain(..len)) {
            *byte = came;
        }
        Ok(len)
    }

    /// Waits until bytes came or the other side is gone; `false` at the deadline.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> bool {
        self.wait_for(deadline, |state| !state.bytes.is_empty()).is_some()
    }

    /// Waits until a handle came or the other side is gone, or the deadline.
    pub(super) fn wait_for_handle(&self, deadline: Option<Instant>) {
        self.wait_for(deadline, |state| !state.handles.is_empty());
    }

    /// Sleeps until the other side rings or is gone.
    pub(super) fn sleep(&self) {
        if let Some(mut state) = self.wait_for(None, |state| state.has_rung) {
            state.has_rung = false;
        }
    }

    fn wait_for(&self, deadline: Option<Instant>, is_there: impl Fn(&State) -> bool) -> Option<MutexGuard<'_, State>> {
        let mut state = mutex::lock(&self.state);
        while !is_there(&state) && !state.is_closed {
            state = wait_until(&self.arrived, state, deadline)?;
        }
        Some(state)
    }
}

/// Waits on a condition variable, for ever or until the deadline; `None` at the deadline.
pub(super) fn wait_until<'a, T>(
    changed: &Condvar,
    guard: MutexGuard<'a, T>,
    deadline: Option<Instant>,
) -> Option<MutexGuard<'a, T>> {
    let Some(deadline) = deadline else {
        return Some(mutex::wait(changed, guard));
    };
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return None;
    }
    Some(mutex::wait_timeout(changed, guard, left).0)
}
