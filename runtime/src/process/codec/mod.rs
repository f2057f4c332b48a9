//! The codec between values and messages: what a worker process and its parent send each other.
//!
//! A message is in the self-describing binary format of the [`strict`] codec, in which a value is read as it was
//! written. Large bytes and file descriptors go beside the message as attachments. The codec refuses types that write
//! other fields than they read (`serde(skip_serializing)`, `skip_deserializing`), because a wrong value without an error
//! is worse than an error.
//!
//! The arguments of each call and each result are a [part](Decoder::part) of their message with a length, so a type
//! that reads too much cannot read into another call.
//!
//! Ends of channels and shared values have attachments also inside values that serde writes (`attached.rs`).
//!
//! [`Dispatch`](dispatch::Dispatch) chooses the codec of a type where the user wrote the type.

mod attached;
mod code;
mod decoder;
pub(crate) mod direct;
pub(crate) mod dispatch;
mod encoder;
mod errors;
#[cfg(feature = "polars")]
mod frames;
pub(crate) mod local_state;
mod strict;

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::panics;
use crate::process::os::{self, ForeignHandle, Handle};
pub(crate) use attached::{deserialize, serialize};
pub use code::Code;
pub(crate) use code::{Sides, Whole};
pub(crate) use decoder::{DecodedBytes, Decoder, ReceivedAttachment};
pub(crate) use encoder::{
    Attachment, Encoder, MAX_DESCRIPTOR_ATTACHMENTS, MAX_SEGMENT_ATTACHMENTS, TOO_LARGE, begin_part, end_part,
    no_shared_memory,
};
pub(crate) use local_state::{check_local_state, refuse_local_state};

/// Why a value cannot be written or read.
#[derive(Debug, Clone)]
#[allow(clippy::box_collection, reason = "one word, because it is returned beside every value and is rare")]
pub struct CodecError(pub(crate) Box<String>);

impl CodecError {
    #[cold]
    pub(crate) fn new(what: impl fmt::Display) -> Self {
        Self(Box::new(what.to_string()))
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Runs code of the user that writes or reads a value. A panic becomes a [`CodecError`].
pub(crate) fn catch_codec_panic<T>(
    function: &'static str,
    convert: impl FnOnce() -> Result<T, CodecError>,
) -> Result<T, CodecError> {
    panics::catch(function, convert).unwrap_or_else(|error| Err(CodecError::new(error)))
}

/// A type whose values can be sent to a worker process: every type that implements serde's `Serialize` and
/// `Deserialize`.
///
/// A value arrives as it was: `Some(None)`, 128-bit numbers, the bits of a NaN and maps with any keys, also where serde
/// must see the data before it knows its shape (`serde(untagged)`, `serde(tag)`, `serde(flatten)`,
/// `serde_json::Value`) or leaves fields out (`serde(skip_serializing_if)`). As in every format, serde reads an untagged
/// enum as the first variant that fits.
///
/// Refused with an error:
///
/// - types that write other fields than they read: `serde(skip_serializing)`, `skip_deserializing`, a `rename` for one
///   direction only. Use `serde(skip)`, which is for both directions;
/// - 128-bit numbers that serde must see first, as inside an untagged enum, which serde does not support.
///
/// # Examples
///
/// ```standalone_crate
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// #[serde(untagged)]
/// enum Setting {
///     Number(f64),
///     Text(String),
///     Several { #[serde(flatten)] others: serde_json::Value },
/// }
///
/// #[fanfold::parallel(kind = "process")]
/// fn same(setting: Setting) -> Setting {
///     setting
/// }
///
/// #[fanfold::main]
/// fn main() {
///     assert_eq!(same(Setting::Number(f64::INFINITY)), Setting::Number(f64::INFINITY));
/// }
/// ```
#[doc(alias = "pickle")]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent to a worker process",
    label = "cannot be sent to a worker process",
    note = "arguments and results of a `kind = \"process\"` function cross to another process as bytes, so they must be `Send` and implement serde's `Serialize` and `Deserialize`: `#[derive(serde::Serialize, serde::Deserialize)]`",
    note = "ends of channels whose values can be sent and shared values cross as parts of such types too; frames cross as whole arguments or results, in an `Option`, `Vec` or `Result`, or in a tuple of such; an error crosses as `Box<dyn Error + Send + Sync>`; `Arc` needs serde's feature `rc`",
    note = "of channels only `fanfold::channel()` reaches another process, not those of the standard library or of Tokio"
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
        attached::write(self, out)
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
        attached::read(input)
    }
}

/// Implements serde's traits, and so [`Wire`], for a type with a codec of its own: as a part of other types it is
/// written with its attachments.
macro_rules! wire {
    ($type:ident $(<$of:ident $(: $bound:path)?>)?) => {
        impl$(<$of $(: $bound)?>)? serde::Serialize for $type$(<$of>)? {
            fn serialize<Ser: serde::Serializer>(&self, serializer: Ser) -> Result<Ser::Ok, Ser::Error> {
                crate::process::codec::serialize(self, serializer)
            }
        }

        impl<'de $(, $of $(: $bound)?)?> serde::Deserialize<'de> for $type$(<$of>)? {
            fn deserialize<De: serde::Deserializer<'de>>(deserializer: De) -> Result<Self, De::Error> {
                crate::process::codec::deserialize(deserializer)
            }
        }
    };
}
pub(crate) use wire;

/// Writes a value that has no attachments.
pub(crate) fn write_value<T: Wire>(value: &T, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
    value.write(&mut Encoder::new(bytes, &mut Vec::new(), None))
}

/// Writes a value that may have file descriptors, of which one more goes with a long message.
pub(crate) fn write_message<T: Wire>(value: &T) -> Result<(Vec<u8>, Vec<Handle>), CodecError> {
    let (mut bytes, mut attachments) = (Vec::new(), Vec::new());
    let max_descriptors = os::MAX_FDS_PER_MESSAGE - 1;
    value.write(&mut Encoder { max_descriptors, ..Encoder::new(&mut bytes, &mut attachments, None) })?;
    let descriptors = attachments.into_iter().filter_map(|attachment| match attachment {
        Attachment::Descriptor(descriptor) => Some(descriptor),
        Attachment::Segment(_) => None,
    });
    Ok((bytes, descriptors.collect()))
}

/// Reads a value that came with these file descriptors.
pub(crate) fn read_message<T: Wire>(
    bytes: &[u8],
    descriptors: impl IntoIterator<Item = ForeignHandle>,
) -> Result<T, CodecError> {
    let mut input = Decoder::new(bytes, descriptors.into_iter().map(ReceivedAttachment::Descriptor).collect());
    let value = T::read(&mut input)?;
    input.end("it was not read to its end")?;
    Ok(value)
}

/// Reads a value that has no attachments, from all of `bytes`.
pub(crate) fn read_value<T: Wire>(bytes: &[u8]) -> Result<T, CodecError> {
    read_message(bytes, [])
}

/// A type with a codec of its own, which is faster than serde's, or which serde does not support.
pub trait Direct: Sized + Send {
    /// Writes the value.
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError>;
    /// Reads a value.
    fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError>;
}
