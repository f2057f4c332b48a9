//! What crosses to a worker process, and how: values become bytes, and large ones blocks beside them.
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
use crate::process::foreign::Foreign;
use crate::process::transport::ring::LARGEST;
use crate::process::transport::segments::{Outbox, Sent, View};

/// Bytes from here on go through a segment instead of the ring.
pub(crate) const BLOCK: usize = 1 << 15;

/// Blocks of one message; what is more goes with the bytes, which become one block if they are many.
pub(crate) const MOST_BLOCKS: usize = 64;

/// Open files of one message, about; what is on its way counts as this process', which may open only so many.
pub(crate) const MOST_DESCRIPTORS: usize = 200;

/// Said of a value that does not fit among others.
pub(crate) const LARGE: &str = "it is too large";

/// Why a value cannot cross.
#[derive(Debug)]
pub struct Misfit(pub(crate) String);

impl Misfit {
    pub(crate) fn new(what: impl fmt::Display) -> Self {
        Self(what.to_string())
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Runs the user's part of writing or reading a value, whose panic is a reason like any other.
pub(crate) fn contained<T>(function: &'static str, convert: impl FnOnce() -> Result<T, Misfit>) -> Result<T, Misfit> {
    panics::catch(function, convert).unwrap_or_else(|error| Err(Misfit::new(error)))
}

/// What goes beside a frame.
pub(crate) enum Block {
    /// Bytes in a segment.
    Bytes(Sent),
    /// An open file.
    Descriptor(OwnedFd),
}

/// Where values are written.
pub struct Encoder<'a> {
    pub(crate) bytes: &'a mut Vec<u8>,
    pub(crate) blocks: &'a mut Vec<Block>,
    /// For large blocks; without it they are refused.
    pub(crate) outbox: Option<&'a mut Outbox>,
}

impl Encoder<'_> {
    /// Writes a value of serde's.
    pub(crate) fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Misfit> {
        strict::write(value, self.bytes).map_err(Misfit::new)
    }

    /// Writes a byte that says what follows, and that.
    pub(crate) fn tagged<T: Serialize + ?Sized>(&mut self, tag: u8, value: &T) -> Result<(), Misfit> {
        self.bytes.push(tag);
        self.value(value)
    }

    /// Writes the bytes of all parts, one behind the other; many of them as a block.
    pub(crate) fn bytes(&mut self, parts: &[&[u8]]) -> Result<(), Misfit> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let large = len >= BLOCK && self.blocks.len() < MOST_BLOCKS;
        self.value(&(large, len))?;
        if large {
            let outbox = self.outbox.as_mut().ok_or_else(|| Misfit(LARGE.into()))?;
            self.blocks.push(Block::Bytes(outbox.send(parts).map_err(no_memory)?));
        } else {
            self.bytes.reserve(len);
            parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        }
        Ok(())
    }

    /// Sends an open file.
    pub(crate) fn descriptor(&mut self, descriptor: OwnedFd) -> Result<(), Misfit> {
        if self.outbox.is_none() {
            return Err(Misfit(LARGE.into()));
        }
        let sent = self.blocks.iter().filter(|block| matches!(block, Block::Descriptor(_))).count();
        if sent >= MOST_DESCRIPTORS {
            return Err(Misfit::new(format!(
                "it has more than {MOST_DESCRIPTORS} ends of channels, which is the most that go with one call: make \
                 several calls, or send what belongs together through one channel"
            )));
        }
        self.blocks.push(Block::Descriptor(descriptor));
        Ok(())
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub(crate) fn no_memory(error: std::io::Error) -> Misfit {
    Misfit(format!("shared memory could not be had: {error}"))
}

/// The length of a part that has the rest of its message, and what is beside it.
const REST: u16 = u16::MAX;
const _: () = assert!(LARGEST < REST as usize, "the length of what fits the ring is a length");

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
pub(crate) enum Arrived {
    /// Bytes in a segment.
    Bytes(View),
    /// An open file.
    Descriptor(Foreign),
}

/// Where values are read.
pub struct Decoder<'a> {
    bytes: &'a [u8],
    blocks: std::vec::IntoIter<Arrived>,
}

/// Bytes that were read: few of them where they lie, many in their segment.
pub(crate) enum Read<'a> {
    Inline(&'a [u8]),
    Block(View),
}

impl Read<'_> {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Inline(bytes) => bytes,
            Self::Block(view) => view.bytes(),
        }
    }

    /// The bytes, where they may stay.
    #[cfg(feature = "polars")]
    pub(crate) fn into_view(self) -> Result<View, Misfit> {
        match self {
            Self::Inline(bytes) => View::copy_of(bytes).map_err(Misfit::new),
            Self::Block(view) => Ok(view),
        }
    }
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(bytes: &'a [u8], blocks: Vec<Arrived>) -> Self {
        Self { bytes, blocks: blocks.into_iter() }
    }

    /// Reads a value of serde's.
    pub(crate) fn value<T: DeserializeOwned>(&mut self) -> Result<T, Misfit> {
        let (value, rest) = strict::read(self.bytes).map_err(Misfit::new)?;
        self.bytes = rest;
        Ok(value)
    }

    /// Reads what [`Encoder::bytes`] wrote.
    pub(crate) fn bytes(&mut self) -> Result<Read<'a>, Misfit> {
        let (large, len): (bool, usize) = self.value()?;
        if large {
            return match self.blocks.next() {
                Some(Arrived::Bytes(view)) if view.bytes().len() == len => Ok(Read::Block(view)),
                _ => Err(Misfit::new("a block is missing")),
            };
        }
        let (bytes, rest) = self.bytes.split_at_checked(len).ok_or_else(|| Misfit::new("it ends too early"))?;
        self.bytes = rest;
        Ok(Read::Inline(bytes))
    }

    /// Takes what [`Encoder::descriptor`] sent, an end of a channel.
    pub(crate) fn descriptor(&mut self) -> Result<OwnedFd, Misfit> {
        match self.blocks.next() {
            Some(Arrived::Descriptor(descriptor)) => {
                descriptor.into_message_socket().ok_or_else(|| Misfit::new("an open file is no end of a channel"))
            }
            _ => Err(Misfit::new("an open file is missing")),
        }
    }

    /// Reads the next part of a message, which [`begin_part`] began, and all of it; `unread` says that some was left.
    #[inline]
    pub(crate) fn part<T>(
        &mut self,
        unread: &str,
        read: impl FnOnce(&mut Self) -> Result<T, Misfit>,
    ) -> Result<T, Misfit> {
        let early = || Misfit::new("it ends too early");
        let (length, rest) = self.bytes.split_first_chunk().ok_or_else(early)?;
        let length = u16::from_le_bytes(*length);
        let (part, rest) =
            if length == REST { (rest, &[][..]) } else { rest.split_at_checked(length.into()).ok_or_else(early)? };
        self.bytes = part;
        // Also if reading panics.
        let part = Part { input: self, rest };
        let value = read(part.input)?;
        part.input.end(unread)?;
        Ok(value)
    }

    /// Whether everything was read.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.blocks.as_slice().is_empty()
    }

    /// Whether no part is left.
    pub(crate) fn is_at_end(&self) -> bool {
        self.bytes.is_empty()
    }

    /// That everything was read; `unread` says that it was not.
    #[inline]
    pub(crate) fn end(&self, unread: &str) -> Result<(), Misfit> {
        if self.is_empty() {
            return Ok(());
        }
        Err(Misfit(format!("{unread}: its `Serialize` and `Deserialize` do not agree")))
    }
}

/// A part that is being read; what is behind it comes next.
struct Part<'p, 'a> {
    input: &'p mut Decoder<'a>,
    rest: &'a [u8],
}

impl Drop for Part<'_, '_> {
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
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), Misfit>;
    #[doc(hidden)]
    fn read(input: &mut Decoder<'_>) -> Result<Self, Misfit>;
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send> Wire for T {
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), Misfit> {
        out.value(self)
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, Misfit> {
        input.value()
    }
}

/// A value's bytes, where nothing goes beside them.
pub(crate) fn write_value<T: Wire>(value: &T, bytes: &mut Vec<u8>) -> Result<(), Misfit> {
    value.write(&mut Encoder { bytes, blocks: &mut Vec::new(), outbox: None })
}

/// The value of bytes.
pub(crate) fn read_value<T: Wire>(bytes: &[u8]) -> Result<T, Misfit> {
    let mut input = Decoder::new(bytes, Vec::new());
    let value = T::read(&mut input)?;
    input.end("it was not read to its end")?;
    Ok(value)
}

/// A type that has a way of its own, better than serde's or where serde has none.
pub trait Direct: Sized + Send {
    /// Writes it.
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), Misfit>;
    /// Reads it.
    fn read(input: &mut Decoder<'_>) -> Result<Self, Misfit>;
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
    fn write(&self, value: &T, out: &mut Encoder<'_>) -> Result<(), Misfit>;
    /// Reads one.
    ///
    /// # Errors
    ///
    /// If what is there is none.
    fn read(&self, input: &mut Decoder<'_>) -> Result<T, Misfit>;
}

/// How a type crosses as a whole.
pub struct Whole<T> {
    write: fn(&T, &mut Encoder<'_>) -> Result<(), Misfit>,
    read: fn(&mut Decoder<'_>) -> Result<T, Misfit>,
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
    fn write(&self, value: &T, out: &mut Encoder<'_>) -> Result<(), Misfit> {
        (self.write)(value, out)
    }

    #[inline]
    fn read(&self, input: &mut Decoder<'_>) -> Result<T, Misfit> {
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
    fn write(&self, value: &Result<T, E>, out: &mut Encoder<'_>) -> Result<(), Misfit> {
        out.bytes.push(value.is_ok().into());
        match value {
            Ok(value) => self.value.write(value, out),
            Err(error) => self.error.write(error, out),
        }
    }

    fn read(&self, input: &mut Decoder<'_>) -> Result<Result<T, E>, Misfit> {
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
            fn write(&self, value: &($($type,)*), out: &mut Encoder<'_>) -> Result<(), Misfit> {
                $(self.$place.write(&value.$place, out)?;)*
                Ok(())
            }

            #[inline]
            #[allow(unused_variables, clippy::unused_unit, reason = "of no arguments at all")]
            fn read(&self, input: &mut Decoder<'_>) -> Result<($($type,)*), Misfit> {
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
