//! Types with a codec of their own: bytes and text, which become segments, and common errors, which serde does not
//! know.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::sync::Arc;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{CodecError, DecodedBytes, Decoder, Direct, Encoder};
use crate::error::{Payload, TaskError};
use crate::process::os;
use crate::process::os::refusal::no_memory_for_copy;
use crate::process::transport::segments::ReceivedBytes;

/// Bytes that can be shared, and that a worker process reads in shared memory without a copy.
///
/// As an argument of a `kind = "process"` function, the bytes lie in the shared memory that the caller copied them to,
/// once. As a result they are copied into private memory of the caller's process, as a `Vec<u8>` is, so that a
/// compromised worker cannot change what its parent reads.
///
/// # Examples
///
/// ```
/// use fanfold::Bytes;
///
/// let bytes = Bytes::from(vec![1, 2, 3]);
/// let same = bytes.clone(); // no copy
/// assert_eq!(&same[1..], [2, 3]);
/// ```
#[derive(Clone)]
pub struct Bytes(BytesStorage);

#[derive(Clone)]
enum BytesStorage {
    Owned(Arc<Vec<u8>>),
    Received(Arc<ReceivedBytes>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            BytesStorage::Owned(bytes) => bytes,
            BytesStorage::Received(received) => received.bytes(),
        }
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(BytesStorage::Owned(Arc::new(bytes)))
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        Self::from(bytes.to_vec())
    }
}

impl From<Bytes> for Vec<u8> {
    fn from(bytes: Bytes) -> Self {
        match bytes.0 {
            BytesStorage::Owned(bytes) => Arc::try_unwrap(bytes).unwrap_or_else(|shared| shared.to_vec()),
            BytesStorage::Received(received) => received.bytes().to_vec(),
        }
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Bytes {}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({} bytes)", self.len())
    }
}

/// Inside another type, `Bytes` goes through serde, which copies them.
impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }

            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
                Ok(bytes)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u8>, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = seq.next_element()? {
                    bytes.push(byte);
                }
                Ok(bytes)
            }
        }
        deserializer.deserialize_byte_buf(Visit).map(Self::from)
    }
}

impl Direct for Bytes {
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        out.bytes(&[self])
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
        Ok(match input.bytes()? {
            // The bytes lie in a segment that the worker can write to, and a `&[u8]` must not change.
            DecodedBytes::Segment(received) if received.may_change() => Self::from(copy_out(received.bytes())?),
            DecodedBytes::Segment(received) => Self(BytesStorage::Received(Arc::new(received))),
            DecodedBytes::Inline(bytes) => Self::from(copy_out(bytes)?),
        })
    }
}

/// A private copy of bytes. The other process may write to `bytes` meanwhile, so they are checked in the copy.
fn copy_out(bytes: &[u8]) -> Result<Vec<u8>, CodecError> {
    let mut copy = Vec::<u8>::new();
    copy.try_reserve_exact(bytes.len()).map_err(|_| CodecError::new(no_memory_for_copy(bytes.len())))?;
    os::advise_huge_pages(copy.as_mut_ptr(), copy.capacity());
    copy.extend_from_slice(bytes);
    Ok(copy)
}

impl Direct for Vec<u8> {
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        out.bytes(&[self])
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
        copy_out(input.bytes()?.as_slice())
    }
}

impl Direct for String {
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        out.bytes(&[self.as_bytes()])
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
        String::from_utf8(copy_out(input.bytes()?.as_slice())?).map_err(CodecError::new)
    }
}

impl<T: Direct> Direct for Option<T> {
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        out.value(&self.is_some())?;
        self.as_ref().map_or(Ok(()), |value| value.write(out))
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
        let some: bool = input.value()?;
        some.then(|| T::read(input)).transpose()
    }
}

impl<T: Direct> Direct for Vec<T> {
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        out.value(&self.len())?;
        self.iter().try_for_each(|item| item.write(out))
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
        let count: usize = input.value()?;
        (0..count).map(|_| T::read(input)).collect()
    }
}

/// The result of a function that never returns; no value exists.
impl Direct for Infallible {
    fn write(&self, _: &mut Encoder<'_>) -> Result<(), CodecError> {
        match *self {}
    }

    fn read(_: &mut Decoder<'_>) -> Result<Self, CodecError> {
        Err(CodecError::new("a function that never returns has returned"))
    }
}

/// An error crosses as its message and the messages of its causes.
impl Direct for Box<dyn Error + Send + Sync> {
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        if let Some(error) = self.downcast_ref::<TaskError>() {
            out.value(&true)?;
            return Direct::write(error, out);
        }
        out.tagged(false.into(), &chain(&**self))
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
        let ours: bool = input.value()?;
        if ours {
            return Ok(Box::new(<TaskError as Direct>::read(input)?));
        }
        input
            .value::<Vec<String>>()
            .map(RemoteError::from_chain)
            .map(|far| far.map_or_else(|| "an error".into(), Into::into))
    }
}

/// The messages of an error and its causes, the outermost first.
fn chain(error: &dyn Error) -> Vec<String> {
    let mut message = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        message.push(error.to_string());
        cause = error.source();
    }
    message
}

/// The causes of a received error that are kept.
const MAX_CAUSES: usize = 100;

/// An error that came from another process.
#[derive(Debug)]
struct RemoteError {
    message: String,
    cause: Option<Box<RemoteError>>,
}

impl RemoteError {
    fn from_chain(message: Vec<String>) -> Option<Box<Self>> {
        // Dropping the chain takes a stack frame for each cause.
        message.into_iter().take(MAX_CAUSES).rev().fold(None, |cause, message| Some(Box::new(Self { message, cause })))
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for RemoteError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}

/// An I/O error crosses with its OS error number; without a number, with its kind and message.
impl Direct for io::Error {
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        let kind = KINDS.iter().position(|kind| *kind == self.kind()).unwrap_or(KINDS.len());
        out.value(&(self.raw_os_error(), kind, self.to_string()))
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
        let (number, kind, message): (Option<i32>, usize, String) = input.value()?;
        Ok(match number {
            Some(number) => io::Error::from_raw_os_error(number),
            None => io::Error::new(KINDS.get(kind).copied().unwrap_or(io::ErrorKind::Other), message),
        })
    }
}

/// The kinds of I/O errors that carry no OS error number.
const KINDS: [io::ErrorKind; 16] = [
    io::ErrorKind::NotFound,
    io::ErrorKind::PermissionDenied,
    io::ErrorKind::ConnectionRefused,
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::NotConnected,
    io::ErrorKind::BrokenPipe,
    io::ErrorKind::AlreadyExists,
    io::ErrorKind::WouldBlock,
    io::ErrorKind::InvalidInput,
    io::ErrorKind::InvalidData,
    io::ErrorKind::TimedOut,
    io::ErrorKind::WriteZero,
    io::ErrorKind::Interrupted,
    io::ErrorKind::Unsupported,
    io::ErrorKind::UnexpectedEof,
];

impl Direct for TaskError {
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        match self {
            Self::Panicked { message, function, location, .. } => out.tagged(0, &(message, function, location)),
            Self::Cancelled => out.value(&1_u8),
            Self::TimedOut { after } => out.tagged(2, after),
            Self::Init { message } => out.tagged(3, message),
            Self::PoolClosed => out.value(&4_u8),
            Self::WorkerDied { function, message, signal, code } => out.tagged(5, &(function, message, signal, code)),
            Self::Wire { function, message } => out.tagged(6, &(function, message)),
        }
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
        Ok(match input.value::<u8>()? {
            0 => {
                let (message, function, location): (String, String, Option<String>) = input.value()?;
                let payload = Payload::new(Box::new(message.clone()));
                Self::Panicked { message, function: interned(function), location, payload }
            }
            1 => Self::Cancelled,
            2 => Self::TimedOut { after: input.value()? },
            3 => Self::Init { message: input.value()? },
            4 => Self::PoolClosed,
            5 => {
                let (function, message, signal, code): (String, String, Option<i32>, Option<i32>) = input.value()?;
                Self::WorkerDied { function: interned(function), message, signal, code }
            }
            6 => {
                let (function, message): (String, String) = input.value()?;
                Self::Wire { function: interned(function), message }
            }
            other => return Err(CodecError::new(format!("an unknown error of the number {other}"))),
        })
    }
}

/// A `&'static str` for a function's path. A program has as many paths as functions. Paths beyond the limits, which
/// only a compromised worker sends, are replaced by a general text.
fn interned(function: String) -> &'static str {
    const MAX_PATHS: usize = 10_000;
    const MAX_PATH_LEN: usize = 1_000;
    use std::collections::HashSet;
    use std::sync::{Mutex, PoisonError};

    use crate::sys::owner::PerProcess;
    static PATHS: PerProcess<Mutex<HashSet<&'static str>>> = PerProcess::new();
    let mut interned = PATHS.get().lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = interned.get(function.as_str()) {
        return path;
    }
    if interned.len() >= MAX_PATHS || function.len() > MAX_PATH_LEN {
        return "a function of another process";
    }
    let path: &'static str = function.leak();
    interned.insert(path);
    path
}
