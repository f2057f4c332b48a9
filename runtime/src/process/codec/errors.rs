//! The codec of errors, which serde does not know: boxed errors, I/O errors, and [`TaskError`].

use std::collections::HashSet;
use std::error::Error;
use std::fmt;
use std::io;
use std::iter::successors;
use std::sync::Mutex;

use super::{CodecError, Decoder, Direct, Encoder};
use crate::error::{Payload, TaskError};
use crate::sys::mutex;
use crate::sys::owner::PerProcess;

/// An error crosses as its message and the messages of its causes.
impl Direct for Box<dyn Error + Send + Sync> {
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        if let Some(error) = self.downcast_ref::<TaskError>() {
            out.value(&true)?;
            return Direct::write(error, out);
        }
        out.value(&false)?;
        out.value(&chain(&**self))
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
fn chain(error: &(dyn Error + 'static)) -> Vec<String> {
    successors(Some(error), |&error| error.source()).map(ToString::to_string).collect()
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
    static PATHS: PerProcess<Mutex<HashSet<&'static str>>> = PerProcess::new();
    let mut interned = mutex::lock(PATHS.get());
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
