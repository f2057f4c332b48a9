//! [`SendSocket`] and [`ReceiveSocket`]: the ends of a channel that has crossed to another process.
//!
//! Values go through a socket, which the kernel bounds by bytes. A capacity is a second socket: it holds a message for
//! each free place, which a sender takes and a receiver gives back. So whoever waits for a place waits as for a value,
//! and notices when the other side closes. As a socket holds some hundred messages, so does a channel between
//! processes, whatever its capacity: places for which the second socket has no space are lost.
//!
//! A side is closed when no process has its descriptor. A process that is just being started, by whatever part of the
//! program, has all descriptors until it executes its program. So a value that is sent at this moment, after the last
//! receiver was dropped, may be lost without an error, as one that is sent just before.
//!
//! The ends of a process share its sockets. The functions that serialize values are those of the crossing, which alone
//! asks that there are such.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Instant;

use super::error::ChannelError;
use super::memory::{Full, Message, Refused};
use crate::process::{
    ChannelMessage, ChannelSocket, CodecError, Decoder, Direct, Encoder, Handle, Readiness, Wire, read_message,
    write_message,
};
use crate::shared::Flag;

/// The largest capacity: so many messages without contents fit a socket.
const MAX_CAPACITY: usize = 200;

/// A task that waits for a socket, until this is dropped.
pub(super) type SocketWatch = Readiness;

/// A value as bytes, and the file descriptors that go with them.
pub(super) struct Encoded {
    bytes: Vec<u8>,
    descriptors: Vec<Handle>,
}

impl Encoded {
    pub(super) fn new<T: Wire>(value: &T) -> Result<Self, CodecError> {
        let (bytes, descriptors) = write_message(value)?;
        Ok(Self { bytes, descriptors })
    }

    /// Sends it if there is space, or waits for space.
    pub(super) fn send(&self, socket: &ChannelSocket, wait: bool) -> io::Result<()> {
        socket.send(&self.bytes, &self.descriptors, wait)
    }
}

/// The sending side.
pub(super) struct SendSocket<T> {
    socket: ChannelSocket,
    /// With a capacity: a message for each free place.
    places: Option<ChannelSocket>,
    /// The places that this process took and did not use, because the socket was full.
    spare: AtomicUsize,
    encode: fn(&T) -> Result<Encoded, CodecError>,
}

/// The receiving side, or the values that come before those of another one.
pub(super) struct ReceiveSocket<T> {
    socket: ChannelSocket,
    decode: fn(ChannelMessage) -> Result<T, CodecError>,
    after: After<T>,
}

/// What comes after the last message of a socket.
enum After<T> {
    /// Messages of the next one. The flag is set once all messages of this one were sent, if they were not from the
    /// beginning: it is not if their process has ended before.
    Next(Arc<ReceiveSocket<T>>, Option<Flag>),
    /// Nothing. With a capacity: the places that get free.
    Closed(Option<FreePlaces>),
}

/// Where a message goes for each place that gets free.
struct FreePlaces {
    socket: ChannelSocket,
    /// The places whose messages the operating system has refused.
    unsent: AtomicUsize,
}

impl FreePlaces {
    fn new(socket: ChannelSocket) -> Self {
        Self { socket, unsent: AtomicUsize::new(0) }
    }

    fn free(&self) {
        self.unsent.fetch_add(1, Ordering::Relaxed);
        // The next call that receives tries again.
        let _ = self.send();
    }

    /// Sends the messages that are unsent.
    fn send(&self) -> io::Result<()> {
        let take = |unsent: usize| unsent.checked_sub(1);
        while self.unsent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
            if let Err(error) = self.socket.send_token() {
                self.unsent.fetch_add(1, Ordering::Relaxed);
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Direct for FreePlaces {
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        self.socket.write(out)
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
        Direct::read(input).map(Self::new)
    }
}

/// What a socket had.
pub(super) enum Received<T> {
    Value(T),
    Nothing,
    /// Nothing, and nothing can be sent.
    End,
}

/// The sides of a channel with this pair of sockets, and a second one for places if it has a capacity.
pub(super) fn pair<T: Wire>(
    send: ChannelSocket,
    receive: ChannelSocket,
    has_capacity: bool,
) -> io::Result<(SendSocket<T>, ReceiveSocket<T>)> {
    let (free, places) = if has_capacity {
        ChannelSocket::pair().map(|(free, places)| (Some(free), Some(places)))?
    } else {
        (None, None)
    };
    Ok((SendSocket::new(send, places), ReceiveSocket::new(receive, After::Closed(free.map(FreePlaces::new)))))
}

fn decode<T: Wire>(mut message: ChannelMessage) -> Result<T, CodecError> {
    let descriptors = std::mem::take(&mut message.descriptors);
    read_message(message.bytes(), descriptors)
}

impl<T: Wire> SendSocket<T> {
    fn new(socket: ChannelSocket, places: Option<ChannelSocket>) -> Self {
        Self { socket, places, spare: AtomicUsize::new(0), encode: Encoded::new }
    }

    pub(super) fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
        Ok(Self::new(Direct::read(input)?, Direct::read(input)?))
    }
}

impl<T> SendSocket<T> {
    pub(super) fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        self.socket.write(out)?;
        self.places.write(out)
    }

    /// Sends a message if there is a place.
    pub(super) fn try_send(&self, mut message: Message<T>) -> Result<(), (Refused, Message<T>)> {
        if message.encoded.is_none() {
            match (self.encode)(&message.value) {
                Ok(encoded) => message.encoded = Some(encoded),
                Err(error) => return Err((Refused::Failed(error.into()), message)),
            }
        }
        let refused = |error: io::Error, full| match error.kind() {
            io::ErrorKind::WouldBlock => Refused::Full(full),
            _ => Refused::Failed(error.into()),
        };
        if let Err(error) = self.take_place() {
            return Err((refused(error, Full::Places), message));
        }
        let sent = message.encoded.as_ref().map_or(Ok(()), |encoded| encoded.send(&self.socket, false));
        sent.map_err(|error| {
            self.spare.fetch_add(1, Ordering::Relaxed);
            (refused(error, Full::Socket), message)
        })
    }

    /// Takes a place for a value. Without a capacity there always is one.
    fn take_place(&self) -> io::Result<()> {
        let Some(places) = &self.places else { return Ok(()) };
        let spare = self.spare.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |spare| spare.checked_sub(1));
        if spare.is_ok() || places.receive_token(false)? { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }

    /// Waits until what was full may have a place; `false` at the deadline.
    pub(super) fn wait(&self, full: &Full, deadline: Option<Instant>) -> Result<bool, ChannelError> {
        match self.waits_for(full) {
            Some((socket, to_send)) => Ok(socket.wait(to_send, deadline)?),
            None => Ok(true),
        }
    }

    /// Wakes a task once what was full may have a place; `None` if that is now.
    pub(super) fn watch(&self, full: &Full, waker: &Waker) -> Result<Option<SocketWatch>, ChannelError> {
        match self.waits_for(full) {
            Some((socket, to_send)) => Ok(Some(socket.watch(to_send, waker)?)),
            None => {
                waker.wake_by_ref();
                Ok(None)
            }
        }
    }

    /// The socket to wait for, and whether for space in it; `None` if the channel has crossed since.
    fn waits_for(&self, full: &Full) -> Option<(&ChannelSocket, bool)> {
        match (full, &self.places) {
            (Full::Memory, _) => None,
            (Full::Places, Some(places)) => Some((places, false)),
            (Full::Places, None) | (Full::Socket, _) => Some((&self.socket, true)),
        }
    }

    pub(super) fn close(&self) {
        self.socket.close();
        self.places.iter().for_each(ChannelSocket::close);
    }
}

impl<T: Wire> ReceiveSocket<T> {
    fn new(socket: ChannelSocket, after: After<T>) -> Self {
        Self { socket, decode, after }
    }

    /// A socket whose messages come before those of `next`.
    pub(super) fn before(socket: ChannelSocket, all_sent: Option<Flag>, next: Arc<Self>) -> Self {
        Self::new(socket, After::Next(next, all_sent))
    }

    pub(super) fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
        let has_first: bool = input.value()?;
        let first = if has_first { Some((Direct::read(input)?, Direct::read(input)?)) } else { None };
        let last = Self::new(Direct::read(input)?, After::Closed(Direct::read(input)?));
        Ok(match first {
            Some((first, all_sent)) => Self::before(first, all_sent, Arc::new(last)),
            None => last,
        })
    }
}

impl<T> ReceiveSocket<T> {
    pub(super) fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        let After::Next(next, all_sent) = &self.after else {
            out.value(&false)?;
            return self.write_last(out);
        };
        out.value(&true)?;
        self.socket.write(out)?;
        Direct::write(all_sent, out)?;
        next.write_last(out)
    }

    fn write_last(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        self.socket.write(out)?;
        match &self.after {
            After::Closed(places) => places.write(out),
            After::Next(..) => unreachable!("there are two sockets at most"),
        }
    }

    /// Receives a value, or waits for one.
    pub(super) fn receive(&self, wait: bool) -> Result<Received<T>, ChannelError> {
        // No sender may have a place until these are sent.
        self.places().map_or(Ok(()), FreePlaces::send)?;
        let message = match self.socket.receive(wait) {
            Ok(Some(message)) => Ok(message),
            Ok(None) => return Ok(Received::End),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Received::Nothing),
            Err(error) => Err(error),
        };
        // A message that cannot be read took a place as well.
        self.free_place();
        Ok(Received::Value((self.decode)(message?)?))
    }

    /// A value has left the channel.
    pub(super) fn free_place(&self) {
        self.places().into_iter().for_each(FreePlaces::free);
    }

    /// Gives senders their first places.
    pub(super) fn free_places(&self, count: usize) {
        (0..count.min(MAX_CAPACITY)).for_each(|_| self.free_place());
    }

    fn places(&self) -> Option<&FreePlaces> {
        match &self.after {
            After::Next(next, _) => next.places(),
            After::Closed(places) => places.as_ref(),
        }
    }

    pub(super) fn next(&self) -> Option<Arc<Self>> {
        match &self.after {
            After::Next(next, _) => Some(Arc::clone(next)),
            After::Closed(_) => None,
        }
    }

    /// At the end of a socket before the last one: whether all of its messages came.
    pub(super) fn check_end(&self) -> Result<(), ChannelError> {
        match &self.after {
            After::Next(_, Some(all_sent)) if !all_sent.is_set() => Err(ChannelError::System {
                message: "a process has ended before all values that were in it were received, or was refused to send \
                          them: have it run until they are, or receive them sooner"
                    .into(),
            }),
            _ => Ok(()),
        }
    }

    /// Waits until a value can be received, or there is none left; `false` at the deadline.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> Result<bool, ChannelError> {
        Ok(self.socket.wait(false, deadline)?)
    }

    /// Wakes a task once a value can be received, or there is none left.
    pub(super) fn watch(&self, waker: &Waker) -> Result<SocketWatch, ChannelError> {
        Ok(self.socket.watch(false, waker)?)
    }

    /// Closes the channel. What was sent can still be received.
    pub(super) fn close(&self) {
        match &self.after {
            After::Next(next, _) => next.close(),
            After::Closed(places) => {
                self.socket.close();
                places.iter().for_each(|places| places.socket.close());
            }
        }
    }
}
