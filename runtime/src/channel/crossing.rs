//! How an end crosses to another process.
//!
//! A channel begins in memory (`memory.rs`) and asks of its values that they are `Send`. The first end that is written
//! for another process gives it sockets (`crossed.rs`), once and for good, with the functions that serialize values;
//! only here they must have such. From then on all senders, here and elsewhere, send to the socket. Those who wait in
//! this process are woken and wait for the socket. Another crossing of an end, as with `retries`, only duplicates the
//! descriptors of the sockets.
//!
//! Values that are in memory come before those in the socket. If a sender crosses they stay there, as all receivers are
//! here: these take them first. If a receiver crosses, they move (`moving.rs`).

use std::sync::Arc;

use super::crossed::{ReceiveSocket, SendSocket, pair};
use super::memory::SendEnd;
use super::receive_end::ReceiveEnd;
use super::receiver::Receiver;
use super::sender::Sender;
use super::state::{Shared, Sockets, Waiting};
use crate::process::{ChannelSocket, CodecError, Decoder, Direct, Encoder, Wire, check_local_state, wire};
use crate::sys::mutex;

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
        let crossing = mutex::lock(&shared.crossing);
        let crossed = shared.lock().send_socket();
        if let Some(socket) = crossed {
            return Ok(socket);
        }
        let ((socket, _), waiting) = NewSockets::new(shared)?.install(shared, false);
        drop(crossing);
        waiting.wake();
        Ok(socket)
    }
}

/// The two sides of a channel's sockets.
type Sides<T> = (Arc<SendSocket<T>>, Arc<ReceiveSocket<T>>);

/// The sockets of a channel that has none yet.
pub(super) struct NewSockets<T> {
    send: Arc<SendSocket<T>>,
    pub(super) receive: Arc<ReceiveSocket<T>>,
}

impl<T: Wire> NewSockets<T> {
    pub(super) fn new(shared: &Shared<T>) -> Result<Self, CodecError> {
        let (send, receive) = ChannelSocket::pair().map_err(CodecError::new)?;
        Self::of(send, receive, shared)
    }

    pub(super) fn of(send: ChannelSocket, receive: ChannelSocket, shared: &Shared<T>) -> Result<Self, CodecError> {
        let (send, receive) = pair(send, receive, shared.counts_places).map_err(CodecError::new)?;
        Ok(Self { send: Arc::new(send), receive: Arc::new(receive) })
    }

    /// Gives them to the channel; `ends_move` if the values that were in memory are in them. The lock of crossings is
    /// held.
    pub(super) fn install(self, shared: &Shared<T>, ends_move: bool) -> (Sides<T>, Waiting) {
        let Self { send, receive } = self;
        let ((cannot_send, left), waiting) = shared.change_and_wake_later(|state| {
            let taken = state.values.len() + state.moving.unwrap_or(0);
            if ends_move {
                state.moving = None;
            }
            // A side that nobody has here is closed with these, unless it is the one that crosses.
            state.sockets = Some(Sockets {
                send: (state.senders > 0).then(|| Arc::clone(&send)),
                receive: (state.receivers > 0).then(|| Arc::clone(&receive)),
            });
            (state.cannot_send(), shared.capacity.saturating_sub(taken))
        });
        // Dropping the other side is not enough: a process that is just being started has a copy of its descriptor.
        if cannot_send {
            send.close();
        } else if shared.counts_places {
            receive.free_places(left);
        }
        ((send, receive), waiting)
    }
}
