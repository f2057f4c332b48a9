//! How an end crosses to another process.
//!
//! A channel begins in memory (`memory.rs`) and asks of its values that they are `Send`. The first end that is written
//! for another process gives it sockets (`crossed.rs`), once and for good, with the functions that serialize values;
//! only here they must have such. From then on all senders, here and elsewhere, send to the socket. Those who wait in
//! this process are woken and wait for the socket.
//!
//! Values that are in memory come first. If a sender crosses they stay there, as all receivers are here: these take
//! them before those in the socket. If a receiver crosses, they move into the new socket, before any other value. If
//! they do not fit, or the socket is older, they move into a socket of their own, which ends after them: receivers
//! everywhere read it to its end and then go on with the other one. A thread sends what does not fit at once, as no
//! sender may ever send again; a worker process waits for it before it exits. If the process ends before the thread is
//! done, a flag in shared memory is not set, and receivers get an error where the values are missing.
//!
//! While values move, nothing is sent or received here, so that none overtakes them. They are kept until all are in the
//! socket or with the thread. If one cannot be serialized or the system refuses, the crossing is undone: all are in
//! memory again, and the error is that of the call which the end was an argument of. Another crossing of an end, as
//! with `retries`, only duplicates the descriptors of the sockets.

use std::collections::VecDeque;
use std::io;
use std::mem::take;
use std::sync::{Arc, Condvar, Mutex};

use super::crossed::{Encoded, ReceiveSocket, SendSocket, has_no_receiver, pair};
use super::memory::{ReceiveEnd, SendEnd};
use super::receiver::Receiver;
use super::sender::Sender;
use super::state::{Shared, Sockets};
use crate::process::os::refusal::{Operation, RefusedOperation};
use crate::process::{ChannelSocket, CodecError, Decoder, Direct, Encoder, Wire, check_local_state, wire};
use crate::shared::Flag;
use crate::sys::drop_all::DropEach;
use crate::sys::owner::PerProcess;
use crate::sys::{mutex, thread};

/// The other process gets a handle of the same end.
impl<T: Wire> Direct for Sender<T> {
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        check_local_state::<T>()?;
        out.check_descriptors()?;
        self.0.cross()?.write(out)
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
        SendSocket::read(input).map(|socket| Self(SendEnd::received(socket)))
    }
}

/// The other process gets a handle of the same end.
impl<T: Wire> Direct for Receiver<T> {
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        check_local_state::<T>()?;
        out.check_descriptors()?;
        self.0.cross()?.write(out)
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
        ReceiveSocket::read(input).map(|socket| Self(ReceiveEnd::received(socket)))
    }
}

wire!(Sender<T: Wire>);
wire!(Receiver<T: Wire>);

impl<T: Wire> SendEnd<T> {
    /// The channel's socket to send to. Makes it if this is the first end that crosses.
    fn cross(&self) -> Result<Arc<SendSocket<T>>, CodecError> {
        let shared = &*self.0;
        let _crossing = mutex::lock(&shared.crossing);
        let crossed = shared.lock().send_socket();
        match crossed {
            Some(socket) => Ok(socket),
            None => Ok(NewSockets::new(shared)?.install(shared, 0).0),
        }
    }
}

impl<T: Wire> ReceiveEnd<T> {
    /// The channel's socket to receive from, with the values that were in memory.
    fn cross(&self) -> Result<Arc<ReceiveSocket<T>>, CodecError> {
        let crossing = mutex::lock(&self.0.crossing);
        let (socket, moved) = self.cross_with_values()?;
        drop(crossing);
        drop(DropEach(Vec::from(moved)));
        Ok(socket)
    }

    /// As [`cross`](Self::cross); returns the values that have moved as well.
    fn cross_with_values(&self) -> Result<(Arc<ReceiveSocket<T>>, VecDeque<T>), CodecError> {
        let shared = &*self.0;
        let (crossed, values) = {
            let mut state = shared.lock();
            state.is_moving = !state.values.is_empty();
            (state.receive_socket(), take(&mut state.values))
        };
        if values.is_empty() {
            let socket = match crossed {
                Some(socket) => socket,
                None => NewSockets::new(shared)?.install(shared, 0).1,
            };
            return Ok((socket, values));
        }
        let mut moving = Moving { shared, values };
        let (feed, first) = ChannelSocket::pair().map_err(CodecError::new)?;
        let sent = send_all(&moving.values, feed)?;
        let socket = match (crossed, sent) {
            (None, Sent::All(feed)) => {
                let new = NewSockets::of(feed, first, shared)?;
                new.install(shared, moving.values.len()).1
            }
            (None, Sent::ByThread(all_sent)) => {
                let mut new = NewSockets::new(shared)?;
                new.receive = Arc::new(ReceiveSocket::before(first, Some(all_sent), new.receive));
                new.install(shared, moving.values.len()).1
            }
            (Some(last), sent) => {
                let receive = Arc::new(ReceiveSocket::before(first, sent.into_flag(), last));
                shared.change(|state| {
                    state.is_moving = false;
                    if let Some(sockets) = &mut state.sockets {
                        sockets.receive = Some(Arc::clone(&receive));
                    }
                });
                receive
            }
        };
        Ok((socket, take(&mut moving.values)))
    }
}

/// Values that are on their way from memory to a socket. Dropping them puts them back.
struct Moving<'a, T> {
    shared: &'a Shared<T>,
    values: VecDeque<T>,
}

impl<T> Drop for Moving<'_, T> {
    fn drop(&mut self) {
        if !self.values.is_empty() {
            // Nothing was sent meanwhile.
            let values = take(&mut self.values);
            let before = self.shared.change(|state| {
                state.is_moving = false;
                std::mem::replace(&mut state.values, values)
            });
            drop(before);
        }
    }
}

/// The sockets of a channel that has none yet.
struct NewSockets<T> {
    send: Arc<SendSocket<T>>,
    receive: Arc<ReceiveSocket<T>>,
}

impl<T: Wire> NewSockets<T> {
    fn new(shared: &Shared<T>) -> Result<Self, CodecError> {
        let (send, receive) = ChannelSocket::pair().map_err(CodecError::new)?;
        Self::of(send, receive, shared)
    }

    fn of(send: ChannelSocket, receive: ChannelSocket, shared: &Shared<T>) -> Result<Self, CodecError> {
        let (send, receive) = pair(send, receive, shared.counts_places).map_err(CodecError::new)?;
        Ok(Self { send: Arc::new(send), receive: Arc::new(receive) })
    }

    /// Gives them to the channel. So many values have moved from memory.
    fn install(self, shared: &Shared<T>, moved: usize) -> (Arc<SendSocket<T>>, Arc<ReceiveSocket<T>>) {
        let Self { send, receive } = self;
        let (is_closed, left) = shared.change(|state| {
            state.is_moving = false;
            // A side that nobody has here is closed with these, unless it is the one that crosses.
            state.sockets = Some(Sockets {
                send: (state.senders > 0).then(|| Arc::clone(&send)),
                receive: (state.receivers > 0).then(|| Arc::clone(&receive)),
            });
            (state.is_closed, shared.capacity.saturating_sub(state.values.len() + moved))
        });
        if is_closed {
            send.close();
        } else if shared.counts_places {
            receive.free_places(left);
        }
        (send, receive)
    }
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

/// Sends values through a new socket.
fn send_all<T: Wire>(values: &VecDeque<T>, socket: ChannelSocket) -> Result<Sent, CodecError> {
    let mut rest = Vec::new();
    for value in values {
        let encoded = Encoded::new(value)?;
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
    let all_sent = Flag::try_new().map_err(CodecError::new)?;
    let (sending, sets) = (Sending::begin(), all_sent.clone());
    let send = move || {
        let _sending = sending;
        for encoded in rest {
            match encoded.send(&socket, true) {
                Ok(()) => {}
                Err(error) if has_no_receiver(&error) => return,
                // Such as for want of memory for a large value. Its receiver gets the error.
                Err(error) => socket.send_failure(&error),
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
