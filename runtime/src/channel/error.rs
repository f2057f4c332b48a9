//! Why nothing was sent or received.

use std::error::Error;
use std::fmt;
#[cfg(feature = "process")]
use std::io;

#[cfg(feature = "process")]
use crate::process::{CodecError, Decoder, Direct, Encoder};

/// Why nothing was sent or received.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelError {
    /// There is no end left on the other side, and no value.
    Closed,
    /// The time limit is over.
    TimedOut,
    /// There is no place for a value now ([`Sender::try_send`](crate::Sender::try_send)).
    Full,
    /// The value cannot be serialized, or the received bytes cannot be deserialized. Only where the channel has crossed
    /// to another process.
    #[non_exhaustive]
    Wire {
        /// Why.
        message: String,
    },
    /// A system call failed. Only where the channel has crossed to another process.
    #[non_exhaustive]
    System {
        /// The operating system's message.
        message: String,
    },
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the channel is closed: the other side was dropped, or its process has ended"),
            Self::TimedOut => f.write_str("nothing came through the channel in time"),
            Self::Full => f.write_str("the channel is full"),
            Self::Wire { message } => write!(f, "the value cannot go through a channel: {message}"),
            Self::System { message } => write!(f, "the channel has failed: {message}"),
        }
    }
}

impl Error for ChannelError {}

#[cfg(feature = "process")]
impl From<io::Error> for ChannelError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Self::Closed,
            _ => Self::System { message: error.to_string() },
        }
    }
}

#[cfg(feature = "process")]
impl From<CodecError> for ChannelError {
    fn from(error: CodecError) -> Self {
        Self::Wire { message: error.to_string() }
    }
}

/// A process function can return its channel's error.
#[cfg(feature = "process")]
impl Direct for ChannelError {
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        out.value(&match self {
            Self::Closed => (0_u8, ""),
            Self::TimedOut => (1, ""),
            Self::Wire { message } => (2, message.as_str()),
            Self::System { message } => (3, message.as_str()),
            Self::Full => (4, ""),
        })
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
        let (kind, message): (u8, String) = input.value()?;
        Ok(match kind {
            0 => Self::Closed,
            1 => Self::TimedOut,
            2 => Self::Wire { message },
            4 => Self::Full,
            _ => Self::System { message },
        })
    }
}

/// A value that was not sent, and why. `?` turns it into its [`ChannelError`].
///
/// # Examples
///
/// ```
/// use fanfold::ChannelError;
///
/// let (sender, receiver) = fanfold::channel();
/// drop(receiver);
/// let unsent = sender.send(5).unwrap_err();
/// assert_eq!(unsent.error, ChannelError::Closed);
/// assert_eq!(unsent.value, 5);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct SendError<T> {
    /// The value.
    pub value: T,
    /// Why it was not sent.
    pub error: ChannelError,
}

impl<T> From<SendError<T>> for ChannelError {
    fn from(unsent: SendError<T>) -> Self {
        unsent.error
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T> Error for SendError<T> {}
