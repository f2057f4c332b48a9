//! Ends of channels that cross to other processes.
//!
//! Values go through a socket, which the kernel bounds by bytes. A capacity is a second socket: it holds a message for
//! each free place, which a sender takes and a receiver gives back. So whoever waits for a place waits as for a value,
//! and notices when the other side closes.

use std::io;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Instant;

use super::error::{ChannelError, SendError};
use super::receiver::Receiver;
use super::sender::Sender;
use crate::process::{
    ChannelMessage, ChannelSocket, CodecError, Decoder, Direct, Encoder, OwnedFd, Readiness, Wire, read_message, wire,
    write_message,
};

/// The largest capacity: so many messages without contents fit a socket.
pub(super) const MAX_CAPACITY: usize = 200;

/// A task that waits for an end, until this is dropped.
pub struct Watch<'a> {
    _readiness: Readiness,
    _end: PhantomData<&'a ()>,
}

impl Watch<'_> {
    fn new(socket: &ChannelSocket, to_send: bool, waker: &Waker) -> Result<Self, ChannelError> {
        Ok(Self { _readiness: socket.watch(to_send, waker)?, _end: PhantomData })
    }
}

/// A sending end.
pub(super) struct SendEnd<T> {
    end: ChannelSocket,
    /// With a capacity: a message for each free place.
    places: Option<ChannelSocket>,
    /// The places that this handle took and did not use, because the socket was full.
    spare: AtomicUsize,
    values: PhantomData<fn(T)>,
}

/// A receiving end.
pub(super) struct ReceiveEnd<T> {
    end: ChannelSocket,
    /// With a capacity: where a message goes for each place that gets free.
    places: Option<ChannelSocket>,
    values: PhantomData<fn() -> T>,
}

/// Makes a channel, with at most `capacity` values in it.
#[track_caller]
pub(super) fn ends<T: Wire>(capacity: Option<usize>) -> (SendEnd<T>, ReceiveEnd<T>) {
    let pair = || {
        ChannelSocket::pair()
            .unwrap_or_else(|error| panic!("no socket for a channel: {error} (RLIMIT_NOFILE reached?)"))
    };
    let (send, receive) = pair();
    let (mut send, mut receive) = (SendEnd::of(send, None), ReceiveEnd::of(receive, None));
    if let Some(capacity) = capacity {
        let (free, places) = pair();
        (0..capacity.min(MAX_CAPACITY)).for_each(|_| free.send_token());
        (send.places, receive.places) = (Some(places), Some(free));
    }
    (send, receive)
}

/// A value, and the bytes to send for it.
pub(super) struct Message<T> {
    value: T,
    bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

impl<T: Wire> Message<T> {
    pub(super) fn new(value: T) -> Result<Self, SendError<T>> {
        match write_message(&value) {
            Ok((bytes, descriptors)) => Ok(Self { value, bytes, descriptors }),
            Err(error) => Err(SendError { value, error: error.into() }),
        }
    }

    pub(super) fn into_value(self) -> T {
        self.value
    }
}

/// What was full: the channel by its capacity, or the socket.
pub(super) enum Full {
    Places,
    Socket,
}

/// Why a message was not sent.
pub(super) enum Refused {
    Full(Full),
    Failed(ChannelError),
}

impl Refused {
    fn new(error: io::Error, full: Full) -> Self {
        if error.kind() == io::ErrorKind::WouldBlock { Self::Full(full) } else { Self::Failed(error.into()) }
    }
}

impl<T: Wire> SendEnd<T> {
    /// Sends a message if there is a place.
    pub(super) fn try_send(&self, message: Message<T>) -> Result<(), (Refused, Message<T>)> {
        if let Err(error) = self.take_place() {
            return Err((Refused::new(error, Full::Places), message));
        }
        if let Err(error) = self.end.send(&message.bytes, &message.descriptors, false) {
            self.spare.fetch_add(1, Ordering::Relaxed);
            return Err((Refused::new(error, Full::Socket), message));
        }
        Ok(())
    }

    /// Takes a place for a value. Without a capacity there always is one.
    fn take_place(&self) -> io::Result<()> {
        let Some(places) = &self.places else { return Ok(()) };
        let spare = self.spare.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |spare| spare.checked_sub(1));
        if spare.is_ok() || places.receive_token(false)? { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }

    /// Waits until what was full may have a place; `false` at the deadline.
    pub(super) fn wait(&self, full: &Full, deadline: Option<Instant>) -> Result<bool, ChannelError> {
        let (socket, to_send) = self.socket(full);
        Ok(socket.wait(to_send, deadline)?)
    }

    /// Wakes a task once what was full may have a place.
    pub(super) fn watch(&self, full: &Full, waker: &Waker) -> Result<Watch<'_>, ChannelError> {
        let (socket, to_send) = self.socket(full);
        Watch::new(socket, to_send, waker)
    }

    /// The socket to wait for, and whether for space in it.
    fn socket(&self, full: &Full) -> (&ChannelSocket, bool) {
        match (full, &self.places) {
            (Full::Places, Some(places)) => (places, false),
            _ => (&self.end, true),
        }
    }
}

impl<T: Wire> ReceiveEnd<T> {
    pub(super) fn try_recv(&self) -> Result<Option<T>, ChannelError> {
        match self.end.receive(false) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            received => self.take(received).map(Some),
        }
    }

    /// Waits for a value.
    pub(super) fn recv(&self) -> Result<T, ChannelError> {
        self.take(self.end.receive(true))
    }

    fn take(&self, received: io::Result<Option<ChannelMessage>>) -> Result<T, ChannelError> {
        let mut message = received?.ok_or(ChannelError::Closed)?;
        self.places.iter().for_each(ChannelSocket::send_token);
        let descriptors = std::mem::take(&mut message.descriptors);
        Ok(read_message(message.bytes(), descriptors)?)
    }

    /// Waits until a value can be received, or the channel is closed; `false` at the deadline.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> Result<bool, ChannelError> {
        Ok(self.end.wait(false, deadline)?)
    }

    /// Whether a value can be received, or the channel is closed or has failed.
    pub(super) fn is_ready(&self) -> bool {
        self.end.wait(false, Some(Instant::now())).unwrap_or(true)
    }

    /// Wakes a task once a value can be received, or the channel is closed.
    pub(super) fn watch(&self, waker: &Waker) -> Result<Watch<'_>, ChannelError> {
        Watch::new(&self.end, false, waker)
    }
}

macro_rules! end {
    ($end:ident of $handle:ident $(, $spare:ident)?) => {
        impl<T> $end<T> {
            fn of(end: ChannelSocket, places: Option<ChannelSocket>) -> Self {
                Self { end, places, $($spare: AtomicUsize::new(0),)? values: PhantomData }
            }

            pub(super) fn close(&self) {
                self.end.close();
                self.places.iter().for_each(ChannelSocket::close);
            }
        }

        impl<T> Clone for $end<T> {
            fn clone(&self) -> Self {
                let clone = |socket: &ChannelSocket| {
                    socket.try_clone().unwrap_or_else(|error| {
                        panic!("no file descriptor for the clone of a channel's end: {error} (RLIMIT_NOFILE reached?)")
                    })
                };
                Self::of(clone(&self.end), self.places.as_ref().map(clone))
            }
        }

        /// The other process gets its own handle.
        impl<T> Direct for $handle<T> {
            fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
                Direct::write(&self.0.end, out)?;
                Direct::write(&self.0.places, out)
            }

            fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
                Ok(Self($end::of(Direct::read(input)?, Direct::read(input)?)))
            }
        }

        wire!($handle<T>);
    };
}
end!(SendEnd of Sender, spare);
end!(ReceiveEnd of Receiver);
