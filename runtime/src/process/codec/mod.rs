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

mod code;
mod decoder;
pub(crate) mod direct;
pub(crate) mod dispatch;
mod encoder;
#[cfg(feature = "polars")]
mod frames;
mod strict;

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::panics;
pub use code::Code;
pub(crate) use code::{Sides, Whole};
pub(crate) use decoder::Decoder;
pub(crate) use decoder::{DecodedBytes, ReceivedAttachment};
pub(crate) use encoder::Encoder;
pub(crate) use encoder::{
    Attachment, MAX_DESCRIPTOR_ATTACHMENTS, MAX_SEGMENT_ATTACHMENTS, TOO_LARGE, begin_part, end_part, no_shared_memory,
};

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
