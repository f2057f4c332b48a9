//! How values move from memory to a socket when a receiver crosses to another process.
//!
//! If no end has crossed before, they move into the new socket, before any other value. If they do not fit, or the
//! socket is older, they move into a socket of their own, which ends after them: receivers everywhere read it to its
//! end and then go on with the other one. A thread sends what does not fit at once, as no sender may ever send again;
//! a worker process waits for it before it exits. If the process ends before the thread is done, a flag in shared
//! memory is not set, and receivers get an error where the values are missing.
//!
//! While values move, nothing is sent to memory and nothing received here, so that none overtakes them. They are kept
//! until all are in the socket or with the thread. If one cannot be serialized or the system refuses, the crossing is
//! undone: all are in memory again, and the error is that of the call which the end was an argument of.
//!
//! Serializing is code of the values, so no lock is held then, and no end of the channel waits for it to cross as well.
//! A sender gives the channel its sockets, and the values that move come in a socket of their own. A receiver gets that
//! socket before the values are in it ([`Promise`]). If they stay in memory in the end, it reads on behind them.

use std::collections::VecDeque;
use std::io;
use std::mem::{replace, take};
use std::sync::{Arc, Condvar, Mutex};

use super::crossed::{Encoded, ReceiveSocket};
use super::crossing::NewSockets;
use super::receive_end::ReceiveEnd;
use super::state::{Promise, Shared, State, Waiting};
use crate::process::os::refusal::{Operation, RefusedOperation};
use crate::process::{ChannelSocket, CodecError, Wire, has_no_receiver};
use crate::shared::Flag;
use crate::sys::drop_all::DropEach;
use crate::sys::owner::PerProcess;
use crate::sys::{mutex, thread};

impl<T: Wire> ReceiveEnd<T> {
    /// The channel's socket to receive from, with the values that were in memory.
    pub(super) fn cross(&self) -> Result<Arc<ReceiveSocket<T>>, CodecError> {
        let shared = &*self.0;
        let moving = loop {
            if let Some(moving) = Moving::begin(shared) {
                break moving;
            }
            if let Some(socket) = promised(shared)? {
                return Ok(socket);
            }
        };
        let encoded = moving.values.iter().map(Encoded::new).collect::<Result<Vec<_>, _>>()?;
        let crossing = mutex::lock(&shared.crossing);
        let (socket, waiting) = send_first(shared, encoded)?;
        let moved = moving.finish();
        drop(crossing);
        waiting.wake();
        drop(DropEach(Vec::from(moved)));
        Ok(socket)
    }
}

/// Values that are on their way from memory to a socket. Dropping them puts them back.
struct Moving<'a, T> {
    shared: &'a Shared<T>,
    values: VecDeque<T>,
    has_moved: bool,
}

impl<'a, T> Moving<'a, T> {
    /// Takes the values in memory; `None` if another receiver crosses with them.
    fn begin(shared: &'a Shared<T>) -> Option<Self> {
        let mut state = shared.lock();
        if state.is_moving() {
            return None;
        }
        let values = take(&mut state.values);
        state.moving = Some(values.len());
        drop(state);
        Some(Self { shared, values, has_moved: false })
    }

    /// The values, which have moved.
    fn finish(mut self) -> VecDeque<T> {
        self.has_moved = true;
        take(&mut self.values)
    }
}

impl<T> Drop for Moving<'_, T> {
    fn drop(&mut self) {
        if self.has_moved {
            return;
        }
        let values = take(&mut self.values);
        let crossing = mutex::lock(&self.shared.crossing);
        let ((before, promise), waiting) = self.shared.change_and_wake_later(|state| {
            state.moving = None;
            (replace(&mut state.values, values), state.promise.take())
        });
        drop(crossing);
        // Nothing was sent to memory meanwhile.
        drop(before);
        if let Some(Promise { feed: Some(_), all_sent, .. }) = &promise {
            all_sent.set();
        }
        drop(promise);
        waiting.wake();
    }
}

/// The socket to receive from while another receiver crosses with the values; `None` if none does any more.
fn promised<T: Wire>(shared: &Shared<T>) -> Result<Option<Arc<ReceiveSocket<T>>>, CodecError> {
    let crossing = mutex::lock(&shared.crossing);
    let (promised, crossed) = {
        let state = shared.lock();
        if !state.is_moving() {
            return Ok(None);
        }
        (state.promise.as_ref().map(|promise| Arc::clone(&promise.receive)), state.receive_socket())
    };
    if promised.is_some() {
        return Ok(promised);
    }
    let (feed, first) = ChannelSocket::pair().map_err(CodecError::new)?;
    let all_sent = Flag::try_new().map_err(CodecError::new)?;
    let (last, waiting) = match crossed {
        Some(last) => (last, Waiting::default()),
        None => {
            let ((_, last), waiting) = NewSockets::new(shared)?.install(shared, false);
            (last, waiting)
        }
    };
    let receive = Arc::new(ReceiveSocket::before(first, Some(all_sent.clone()), last));
    shared.lock().promise = Some(Promise { feed: Some(feed), all_sent, receive: Arc::clone(&receive) });
    drop(crossing);
    waiting.wake();
    Ok(Some(receive))
}

/// The channel's socket to receive from, with these values before all others. The lock of crossings is held.
fn send_first<T: Wire>(
    shared: &Shared<T>,
    encoded: Vec<Encoded>,
) -> Result<(Arc<ReceiveSocket<T>>, Waiting), CodecError> {
    let (promised, crossed) = {
        let mut state = shared.lock();
        (state.promise.as_mut().and_then(Promise::begin), state.receive_socket())
    };
    if let Some((feed, all_sent, receive)) = promised {
        if let Sent::All(_feed) = send_all(encoded, feed, Some(all_sent.clone()))? {
            all_sent.set();
        }
        let waiting = end_move(shared, &receive);
        return Ok((receive, waiting));
    }
    if let Some(last) = crossed {
        let receive = if encoded.is_empty() {
            last
        } else {
            let (feed, first) = ChannelSocket::pair().map_err(CodecError::new)?;
            let all_sent = send_all(encoded, feed, None)?.into_flag();
            Arc::new(ReceiveSocket::before(first, all_sent, last))
        };
        let waiting = end_move(shared, &receive);
        return Ok((receive, waiting));
    }
    let (feed, first) = ChannelSocket::pair().map_err(CodecError::new)?;
    let new = match send_all(encoded, feed, None)? {
        Sent::All(feed) => NewSockets::of(feed, first, shared)?,
        Sent::ByThread(all_sent) => {
            let mut new = NewSockets::new(shared)?;
            new.receive = Arc::new(ReceiveSocket::before(first, Some(all_sent), new.receive));
            new
        }
    };
    let ((_, socket), waiting) = new.install(shared, true);
    Ok((socket, waiting))
}

/// Receivers of this process go on with this socket.
fn end_move<T>(shared: &Shared<T>, receive: &Arc<ReceiveSocket<T>>) -> Waiting {
    let change = |state: &mut State<T>| {
        state.moving = None;
        let before = state.sockets.as_mut().and_then(|sockets| sockets.receive.replace(Arc::clone(receive)));
        (before, state.promise.take())
    };
    shared.change_and_wake_later(change).1
}

/// How values are sent through a new socket.
enum Sent {
    /// There was space for all.
    All(ChannelSocket),
    /// A thread has the socket, and sets the flag when all are sent.
    ByThread(Flag),
}

impl Sent {
    /// Closes the socket when all are sent; returns the flag.
    fn into_flag(self) -> Option<Flag> {
        match self {
            Self::All(_) => None,
            Self::ByThread(all_sent) => Some(all_sent),
        }
    }
}

/// Sends values through a new socket. A thread sets the flag, or a new one, when all are sent.
fn send_all(values: Vec<Encoded>, socket: ChannelSocket, flag: Option<Flag>) -> Result<Sent, CodecError> {
    let mut rest = Vec::new();
    for encoded in values {
        if !rest.is_empty() {
            rest.push(encoded);
            continue;
        }
        match encoded.send(&socket, false) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => rest.push(encoded),
            Err(error) => return Err(CodecError::new(error)),
        }
    }
    if rest.is_empty() {
        return Ok(Sent::All(socket));
    }
    let all_sent = flag.map_or_else(Flag::try_new, Ok).map_err(CodecError::new)?;
    let (sending, sets) = (Sending::begin(), all_sent.clone());
    let send = move || {
        let _sending = sending;
        for encoded in rest {
            match encoded.send(&socket, true) {
                Ok(()) => {}
                Err(error) if has_no_receiver(&error) => return,
                // Such as for want of memory for a large value. Its receiver gets the error, or that of a missing flag.
                Err(error) => {
                    if socket.send_failure(&error).is_err() {
                        return;
                    }
                }
            }
        }
        sets.set();
    };
    // It needs no more stack than a system call.
    match thread::spawn("fanfold-channel".to_owned(), Some(1 << 16), send) {
        Ok(_) => Ok(Sent::ByThread(all_sent)),
        Err(error) => Err(CodecError::new(RefusedOperation::error(Operation::Thread, error))),
    }
}

/// The number of threads that send what did not fit into a socket.
static SENDING: PerProcess<(Mutex<usize>, Condvar)> = PerProcess::new();

struct Sending;

impl Sending {
    fn begin() -> Self {
        *mutex::lock(&SENDING.get().0) += 1;
        Self
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let (count, changed) = SENDING.get();
        *mutex::lock(count) -= 1;
        changed.notify_all();
    }
}

/// Waits until all values are sent, or nobody can receive them. A worker process calls it before it exits, and its
/// parent bounds how long that takes.
pub(crate) fn wait_until_sent() {
    let (count, changed) = SENDING.get();
    let mut sending = mutex::lock(count);
    while *sending > 0 {
        sending = mutex::wait(changed, sending);
    }
}
