//! What crosses to a worker process, and how: values become bytes, and large ones attachments beside them.
//!
//! The bytes are postcard's: compact, fast, and with what [`exact`] adds, read as they were written. Types that want to
//! see what comes before they read it (`serde(untagged)`, `serde(tag)`, `serde(flatten)`, `serde_json::Value`) are told
//! so by an error; so are types that write other fields than they read (`serde(skip_serializing_if)`,
//! `skip_serializing`, `skip_deserializing`). Of the formats that could do those, none keeps `Some(None)` and `None`
//! apart, and a wrong answer without an error is worse than an error.
//!
//! Each call's arguments, and each result, are a [part](Decoder::part) of their message, with a length: whatever a type
//! reads, it reads nothing of another call's.
//!
//! Which types go how is asked at the type that the user wrote, by the [`Probe`]: a concrete type, so that method
//! resolution can prefer one way to another (autoref specialization).

pub(crate) mod direct;
pub(crate) mod dispatch;
#[cfg(feature = "polars")]
mod frames;
mod strict;

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::os::OwnedFd;
use crate::error::panics;
use crate::process::os::foreign_fd::ForeignFd;
use crate::process::transport::ring::MAX_PAYLOAD;
use crate::process::transport::segments::{Outbox, ReceivedBytes, SentSegment};

/// Bytes from here on go through a segment instead of the ring.
pub(crate) const SEGMENT_THRESHOLD: usize = 1 << 15;

/// Blocks of one message; what is more goes with the bytes, which become one block if they are many.
pub(crate) const MAX_SEGMENT_ATTACHMENTS: usize = 64;

/// Open files of one message, about; what is on its way counts as this process', which may open only so many.
pub(crate) const MAX_DESCRIPTOR_ATTACHMENTS: usize = 200;

/// Said of a value that does not fit among others.
pub(crate) const TOO_LARGE: &str = "it is too large";

/// Why a value cannot cross.
#[derive(Debug)]
pub struct CodecError(pub(crate) String);

impl CodecError {
    pub(crate) fn new(what: impl fmt::Display) -> Self {
        Self(what.to_string())
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Runs the user's part of writing or reading a value, whose panic is a reason like any other.
pub(crate) fn catch_codec_panic<T>(
    function: &'static str,
    convert: impl FnOnce() -> Result<T, CodecError>,
) -> Result<T, CodecError> {
    panics::catch(function, convert).unwrap_or_else(|error| Err(CodecError::new(error)))
}

/// What goes beside a frame.
pub(crate) enum Attachment {
    /// Bytes in a segment.
    Segment(SentSegment),
    /// An open file.
    Descriptor(OwnedFd),
}

/// Where values are written.
pub struct Encoder<'a> {
    pub(crate) bytes: &'a mut Vec<u8>,
    pub(crate) attachments: &'a mut Vec<Attachment>,
    /// For large attachments; without it they are refused.
    pub(crate) outbox: Option<&'a mut Outbox>,
}

impl Encoder<'_> {
    /// Writes a value of serde's.
    pub(crate) fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        strict::write(value, self.bytes).map_err(CodecError::new)
    }

    /// Writes a byte that says what follows, and that.
    pub(crate) fn tagged<T: Serialize + ?Sized>(&mut self, tag: u8, value: &T) -> Result<(), CodecError> {
        self.bytes.push(tag);
        self.value(value)
    }

    /// Writes the bytes of all parts, one behind the other; many of them as a block.
    pub(crate) fn bytes(&mut self, parts: &[&[u8]]) -> Result<(), CodecError> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let large = len >= SEGMENT_THRESHOLD && self.attachments.len() < MAX_SEGMENT_ATTACHMENTS;
        self.value(&(large, len))?;
        if large {
            let outbox = self.outbox.as_mut().ok_or_else(|| CodecError(TOO_LARGE.into()))?;
            self.attachments.push(Attachment::Segment(outbox.send(parts).map_err(no_shared_memory)?));
        } else {
            self.bytes.reserve(len);
            parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        }
        Ok(())
    }

    /// Sends an open file.
    pub(crate) fn descriptor(&mut self, descriptor: OwnedFd) -> Result<(), CodecError> {
        if self.outbox.is_none() {
            return Err(CodecError(TOO_LARGE.into()));
        }
        let sent = self.attachments.iter().filter(|block| matches!(block, Attachment::Descriptor(_))).count();
        if sent >= MAX_DESCRIPTOR_ATTACHMENTS {
            return Err(CodecError::new(format!(
                "it has more than {MAX_DESCRIPTOR_ATTACHMENTS} ends of channels, which is the most that go with one call: make \
                 several calls, or send what belongs together through one channel"
            )));
        }
        self.attachments.push(Attachment::Descriptor(descriptor));
        Ok(())
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub(crate) fn no_shared_memory(error: std::io::Error) -> CodecError {
    CodecError(format!("shared memory could not be had: {error}"))
}

/// The length of a part that has the rest of its message, and what is beside it.
const REST: u16 = u16::MAX;
const _: () = assert!(MAX_PAYLOAD < REST as usize, "the length of what fits the ring is a length");

/// Begins a part of a message, which has the rest of it; gives its place.
#[inline]
pub(crate) fn begin_part(bytes: &mut Vec<u8>) -> usize {
    let start = bytes.len();
    bytes.extend_from_slice(&REST.to_le_bytes());
    start
}

/// Ends the part that begins here: others may follow.
#[inline]
pub(crate) fn end_part(part: &mut [u8]) {
    if let Some((length, rest)) = part.split_first_chunk_mut() {
        *length = u16::try_from(rest.len()).unwrap_or(REST).to_le_bytes();
    }
}

/// What came beside a frame.
pub(crate) enum ReceivedAttachment {
    /// Bytes in a segment.
    Segment(ReceivedBytes),
    /// An open file.
    Descriptor(ForeignFd),
}

/// Where values are read.
pub struct Decoder<'a> {
    bytes: &'a [u8],
    attachments: std::vec::IntoIter<ReceivedAttachment>,
}

/// Bytes that were read: few of them where they lie, many in their segment.
pub(crate) enum DecodedBytes<'a> {
    Inline(&'a [u8]),
    Segment(ReceivedBytes),
}

impl DecodedBytes<'_> {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Inline(bytes) => bytes,
            Self::Segment(received) => received.bytes(),
        }
    }

    /// The bytes, where they may stay.
    #[cfg(feature = "polars")]
    pub(crate) fn into_received(self) -> Result<ReceivedBytes, CodecError> {
        match self {
            Self::Inline(bytes) => ReceivedBytes::copy_of(bytes).map_err(CodecError::new),
            Self::Segment(received) => Ok(received),
        }
    }
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(bytes: &'a [u8], attachments: Vec<ReceivedAttachment>) -> Self {
        Self { bytes, attachments: attachments.into_iter() }
    }

    /// Reads a value of serde's.
    pub(crate) fn value<T: DeserializeOwned>(&mut self) -> Result<T, CodecError> {
        let (value, rest) = strict::read(self.bytes).map_err(CodecError::new)?;
        self.bytes = rest;
        Ok(value)
    }

    /// Reads what [`Encoder::bytes`] wrote.
    pub(crate) fn bytes(&mut self) -> Result<DecodedBytes<'a>, CodecError> {
        let (large, len): (bool, usize) = self.value()?;
        if large {
            return match self.attachments.next() {
                Some(ReceivedAttachment::Segment(received)) if received.bytes().len() == len => {
                    Ok(DecodedBytes::Segment(received))
                }
                _ => Err(CodecError::new("a block is missing")),
            };
        }
        let (bytes, rest) = self.bytes.split_at_checked(len).ok_or_else(|| CodecError::new("it ends too early"))?;
        self.bytes = rest;
        Ok(DecodedBytes::Inline(bytes))
    }

    /// Takes what [`Encoder::descriptor`] sent, an end of a channel.
    pub(crate) fn descriptor(&mut self) -> Result<OwnedFd, CodecError> {
        match self.attachments.next() {
            Some(ReceivedAttachment::Descriptor(descriptor)) => {
                descriptor.into_channel_socket().ok_or_else(|| CodecError::new("an open file is no end of a channel"))
            }
            _ => Err(CodecError::new("an open file is missing")),
        }
    }

    /// Reads the next part of a message, which [`begin_part`] began, and all of it; `unread` says that some was left.
    #[inline]
    pub(crate) fn part<T>(
        &mut self,
        unread: &str,
        read: impl FnOnce(&mut Self) -> Result<T, CodecError>,
    ) -> Result<T, CodecError> {
        let early = || CodecError::new("it ends too early");
        let (length, rest) = self.bytes.split_first_chunk().ok_or_else(early)?;
        let length = u16::from_le_bytes(*length);
        let (part, rest) =
            if length == REST { (rest, &[][..]) } else { rest.split_at_checked(length.into()).ok_or_else(early)? };
        self.bytes = part;
        // Also if reading panics.
        let part = PartReader { input: self, rest };
        let value = read(part.input)?;
        part.input.end(unread)?;
        Ok(value)
    }

    /// Whether everything was read.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.attachments.as_slice().is_empty()
    }

    /// Whether no part is left.
    pub(crate) fn is_at_end(&self) -> bool {
        self.bytes.is_empty()
    }

    /// That everything was read; `unread` says that it was not.
    #[inline]
    pub(crate) fn end(&self, unread: &str) -> Result<(), CodecError> {
        if self.is_empty() {
            return Ok(());
        }
        Err(CodecError(format!("{unread}: its `Serialize` and `Deserialize` do not agree")))
    }
}

/// A part that is being read; what is behind it comes next.
struct PartReader<'p, 'a> {
    input: &'p mut Decoder<'a>,
    rest: &'a [u8],
}

impl Drop for PartReader<'_, '_> {
    #[inline]
    fn drop(&mut self) {
        self.input.bytes = self.rest;
    }
}

/// A type whose values can cross to another process: everything that serde can write and read again.
///
/// Values arrive as they were, or an error says why they cannot. Refused are types that must see data to know its shape
/// (`serde(untagged)`, `serde(tag)`, `serde(flatten)`, `serde_json::Value`), and types that write other fields than they
/// read (`serde(skip_serializing_if)`, `skip_serializing`, `skip_deserializing`, a `rename` for one of the two): use
/// `serde(skip)`, which is for both.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent to a worker process",
    label = "cannot be sent to a worker process",
    note = "arguments and results of a `kind = \"process\"` function cross to another process as bytes, so they must be `Send` and implement serde's `Serialize` and `Deserialize`: `#[derive(serde::Serialize, serde::Deserialize)]`",
    note = "ends of channels and frames cross as whole arguments or results, or in an `Option`, `Vec` or `Result`; an error crosses as `Box<dyn Error + Send + Sync>`; `Arc` needs serde's feature `rc`"
)]
pub trait Wire: Sized + Send {
    #[doc(hidden)]
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError>;
    #[doc(hidden)]
    fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError>;
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send> Wire for T {
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        out.value(self)
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
        input.value()
    }
}

/// A value's bytes, where nothing goes beside them.
pub(crate) fn write_value<T: Wire>(value: &T, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
    value.write(&mut Encoder { bytes, attachments: &mut Vec::new(), outbox: None })
}

/// The value of bytes.
pub(crate) fn read_value<T: Wire>(bytes: &[u8]) -> Result<T, CodecError> {
    let mut input = Decoder::new(bytes, Vec::new());
    let value = T::read(&mut input)?;
    input.end("it was not read to its end")?;
    Ok(value)
}

/// A type that has a way of its own, better than serde's or where serde has none.
pub trait Direct: Sized + Send {
    /// Writes it.
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError>;
    /// Reads it.
    fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError>;
}

/// How values of type `T` cross.
///
/// # Safety
///
/// `T` is `Send`.
pub unsafe trait Code<T>: Copy {
    /// Writes one.
    ///
    /// # Errors
    ///
    /// If it cannot cross.
    fn write(&self, value: &T, out: &mut Encoder<'_>) -> Result<(), CodecError>;
    /// Reads one.
    ///
    /// # Errors
    ///
    /// If what is there is none.
    fn read(&self, input: &mut Decoder<'_>) -> Result<T, CodecError>;
}

/// How a type crosses as a whole.
pub struct Whole<T> {
    write: fn(&T, &mut Encoder<'_>) -> Result<(), CodecError>,
    read: fn(&mut Decoder<'_>) -> Result<T, CodecError>,
}

impl<T> Clone for Whole<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Whole<T> {}

impl<T: Wire> Whole<T> {
    pub(crate) fn by_serde() -> Self {
        Self { write: <T as Wire>::write, read: <T as Wire>::read }
    }
}

impl<T: Direct> Whole<T> {
    pub(crate) fn by_itself() -> Self {
        Self { write: <T as Direct>::write, read: <T as Direct>::read }
    }
}

// SAFETY: its makers ask for `Wire` or `Direct`, which ask for `Send`.
unsafe impl<T> Code<T> for Whole<T> {
    #[inline]
    fn write(&self, value: &T, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        (self.write)(value, out)
    }

    #[inline]
    fn read(&self, input: &mut Decoder<'_>) -> Result<T, CodecError> {
        (self.read)(input)
    }
}

/// A `Result` whose two sides go their own ways.
#[derive(Clone, Copy)]
pub struct Sides<C, D> {
    pub(crate) value: C,
    pub(crate) error: D,
}

// SAFETY: both sides are.
unsafe impl<T, E, C: Code<T>, D: Code<E>> Code<Result<T, E>> for Sides<C, D> {
    fn write(&self, value: &Result<T, E>, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        out.bytes.push(value.is_ok().into());
        match value {
            Ok(value) => self.value.write(value, out),
            Err(error) => self.error.write(error, out),
        }
    }

    fn read(&self, input: &mut Decoder<'_>) -> Result<Result<T, E>, CodecError> {
        let ok: bool = input.value()?;
        if ok { self.value.read(input).map(Ok) } else { self.error.read(input).map(Err) }
    }
}

macro_rules! tuple {
    ($($code:ident $type:ident $place:tt)*) => {
        // SAFETY: all parts are.
        unsafe impl<$($code: Code<$type>, $type),*> Code<($($type,)*)> for ($($code,)*) {
            #[inline]
            #[allow(unused_variables, reason = "of no arguments at all")]
            fn write(&self, value: &($($type,)*), out: &mut Encoder<'_>) -> Result<(), CodecError> {
                $(self.$place.write(&value.$place, out)?;)*
                Ok(())
            }

            #[inline]
            #[allow(unused_variables, clippy::unused_unit, reason = "of no arguments at all")]
            fn read(&self, input: &mut Decoder<'_>) -> Result<($($type,)*), CodecError> {
                Ok(($(self.$place.read(input)?,)*))
            }
        }
    };
}
tuple!();
tuple!(C0 A0 0);
tuple!(C0 A0 0 C1 A1 1);
tuple!(C0 A0 0 C1 A1 1 C2 A2 2);
tuple!(C0 A0 0 C1 A1 1 C2 A2 2 C3 A3 3);
tuple!(C0 A0 0 C1 A1 1 C2 A2 2 C3 A3 3 C4 A4 4);
tuple!(C0 A0 0 C1 A1 1 C2 A2 2 C3 A3 3 C4 A4 4 C5 A5 5);
tuple!(C0 A0 0 C1 A1 1 C2 A2 2 C3 A3 3 C4 A4 4 C5 A5 5 C6 A6 6);
tuple!(C0 A0 0 C1 A1 1 C2 A2 2 C3 A3 3 C4 A4 4 C5 A5 5 C6 A6 6 C7 A7 7);
tuple!(C0 A0 0 C1 A1 1 C2 A2 2 C3 A3 3 C4 A4 4 C5 A5 5 C6 A6 6 C7 A7 7 C8 A8 8);
tuple!(C0 A0 0 C1 A1 1 C2 A2 2 C3 A3 3 C4 A4 4 C5 A5 5 C6 A6 6 C7 A7 7 C8 A8 8 C9 A9 9);
tuple!(C0 A0 0 C1 A1 1 C2 A2 2 C3 A3 3 C4 A4 4 C5 A5 5 C6 A6 6 C7 A7 7 C8 A8 8 C9 A9 9 C10 A10 10);
tuple!(C0 A0 0 C1 A1 1 C2 A2 2 C3 A3 3 C4 A4 4 C5 A5 5 C6 A6 6 C7 A7 7 C8 A8 8 C9 A9 9 C10 A10 10 C11 A11 11);
tuple!(C0 A0 0 C1 A1 1 C2 A2 2 C3 A3 3 C4 A4 4 C5 A5 5 C6 A6 6 C7 A7 7 C8 A8 8 C9 A9 9 C10 A10 10 C11 A11 11 C12 A12 12);
tuple!(C0 A0 0 C1 A1 1 C2 A2 2 C3 A3 3 C4 A4 4 C5 A5 5 C6 A6 6 C7 A7 7 C8 A8 8 C9 A9 9 C10 A10 10 C11 A11 11 C12 A12 12 C13 A13 13);
tuple!(C0 A0 0 C1 A1 1 C2 A2 2 C3 A3 3 C4 A4 4 C5 A5 5 C6 A6 6 C7 A7 7 C8 A8 8 C9 A9 9 C10 A10 10 C11 A11 11 C12 A12 12 C13 A13 13 C14 A14 14);
tuple!(C0 A0 0 C1 A1 1 C2 A2 2 C3 A3 3 C4 A4 4 C5 A5 5 C6 A6 6 C7 A7 7 C8 A8 8 C9 A9 9 C10 A10 10 C11 A11 11 C12 A12 12 C13 A13 13 C14 A14 14 C15 A15 15);
