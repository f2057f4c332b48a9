//! How a parent and its new worker with_worker: the parent starts its own program with a variable in its environment
//! and a socket as standard input, sends the memory they share and a [`Handshake`], and gets one back.

use std::fmt;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use super::os::{self, AsFd, OwnedFd, UnixStream, WaitResult};
use super::registry;
use crate::process::os::pidfd::ChildProcess;

/// How long a worker may take to say handshake. Starting takes milliseconds; this is for machines that are overrun.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// What each side tells the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Handshake {
    /// See [`registry::fingerprint`].
    pub(super) fingerprint: u64,
    /// Bytes of private memory that the worker may have; 0 is no limit.
    pub(super) memory_limit: u64,
}

impl Handshake {
    pub(super) const SIZE: usize = 24;
    const MAGIC: [u8; 8] = *b"fanfold1";
    /// In place of [`MAGIC`](Self::MAGIC): why the worker cannot start, as text up to the end.
    const REFUSAL: [u8; 8] = *b"fanfold!";

    pub(super) fn new(memory_limit: u64) -> Self {
        Self { fingerprint: registry::fingerprint(), memory_limit }
    }

    pub(super) fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..8].copy_from_slice(&Self::MAGIC);
        bytes[8..16].copy_from_slice(&self.fingerprint.to_ne_bytes());
        bytes[16..].copy_from_slice(&self.memory_limit.to_ne_bytes());
        bytes
    }

    pub(super) fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut bytes = [0; 8];
        let mut next = || from.read_exact(&mut bytes).map(|()| bytes);
        match next()? {
            Self::MAGIC => {}
            Self::REFUSAL => {
                let mut why = Vec::new();
                // What it says is shown to the user: no more than a message.
                from.take(1 << 10).read_to_end(&mut why)?;
                return Err(io::Error::other(StartRefusal(String::from_utf8_lossy(&why).into_owned())));
            }
            _ => return Err(io::Error::other("it does not speak Fanfold's protocol")),
        }
        Ok(Self { fingerprint: u64::from_ne_bytes(next()?), memory_limit: u64::from_ne_bytes(next()?) })
    }
}

/// Why a worker cannot start, in its own words.
#[derive(Debug)]
struct StartRefusal(String);

impl fmt::Display for StartRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartRefusal {}

/// The worker's side of a failed start: tells the parent why, if it still listens.
pub(super) fn refuse(socket: &mut UnixStream, why: &io::Error) {
    let message = [&Handshake::REFUSAL[..], why.to_string().as_bytes()].concat();
    let _ = socket.write_all(&message);
}

/// Why a worker cannot be worked with.
#[derive(Debug)]
pub(super) enum HandshakeError {
    /// It says nothing.
    TimedOut,
    /// It is another build of the program.
    OtherBuild,
    /// It cannot start: why.
    Refused(String),
    /// It is gone, or speaks another language.
    Disconnected(io::Error),
}

/// The parent's side: sends the memory and a handshake, and compares the answer, which must be there by the deadline.
pub(super) fn with_worker(
    socket: &UnixStream,
    process: Option<&ChildProcess>,
    memory: &OwnedFd,
    own: Handshake,
    deadline: Option<Instant>,
) -> Result<(), HandshakeError> {
    os::send(socket, b'm', &[memory.as_fd()], true).map_err(HandshakeError::Disconnected)?;
    (&mut &*socket).write_all(&own.to_bytes()).map_err(HandshakeError::Disconnected)?;
    let timeout = Instant::now().checked_add(HANDSHAKE_TIMEOUT);
    let deadline = deadline.into_iter().chain(timeout).min();
    let theirs =
        Handshake::read(&mut DeadlineReader { socket, process, deadline }).map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => HandshakeError::TimedOut,
            _ => match error.downcast::<StartRefusal>() {
                Ok(StartRefusal(why)) => HandshakeError::Refused(why),
                Err(error) => HandshakeError::Disconnected(error),
            },
        })?;
    if theirs == own { Ok(()) } else { Err(HandshakeError::OtherBuild) }
}

/// Reads from a worker's socket, until the deadline for all of it together. A worker that ends closes the socket; where
/// a copy that it has forked holds the socket open, the pidfd tells of its end.
struct DeadlineReader<'a> {
    socket: &'a UnixStream,
    process: Option<&'a ChildProcess>,
    deadline: Option<Instant>,
}

impl Read for DeadlineReader<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let waited = match self.process {
            Some(process) => process.wait_for_socket(self.socket, self.deadline)?,
            None => os::wait_for_socket_or_exit(self.socket, None, self.deadline)?,
        };
        match waited {
            WaitResult::SocketReady => (&mut &*self.socket).read(bytes),
            WaitResult::ProcessExited => Ok(0),
            WaitResult::TimedOut => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// What the parent makes of a worker that answers this; nothing closes the socket.
    fn answered(answer: &[u8]) -> Result<(), HandshakeError> {
        let (ours, mut theirs) = UnixStream::pair().expect("there are sockets");
        let memory = os::create_memory(1 << 12).expect("there is memory");
        theirs.write_all(answer).expect("there is room");
        theirs.shutdown(std::net::Shutdown::Write).expect("it is open");
        with_worker(&ours, None, &memory, Handshake::new(7), None)
    }

    #[test]
    fn a_worker_is_of_the_same_build_or_is_none() {
        let handshake = Handshake::new(7);
        assert!(answered(&handshake.to_bytes()).is_ok());
        let other = Handshake { fingerprint: handshake.fingerprint ^ 1, ..handshake };
        assert!(matches!(answered(&other.to_bytes()), Err(HandshakeError::OtherBuild)));
        let error = answered(b"Usage: program [OPTIONS]").expect_err("that is no handshake");
        assert!(
            matches!(&error, HandshakeError::Disconnected(error) if error.to_string().contains("protocol")),
            "{error:?}"
        );
        assert!(matches!(answered(&[]), Err(HandshakeError::Disconnected(_))));
        let error = answered(b"fanfold!no memory").expect_err("that is a refusal");
        assert!(matches!(&error, HandshakeError::Refused(why) if why == "no memory"), "{error:?}");
    }

    #[test]
    fn a_worker_that_says_half_a_hello_is_silent_at_the_deadline() {
        let (ours, mut theirs) = UnixStream::pair().expect("there are sockets");
        let memory = os::create_memory(1 << 12).expect("there is memory");
        theirs.write_all(&Handshake::new(0).to_bytes()[..11]).expect("there is room");
        let deadline = Instant::now() + Duration::from_millis(30);
        let error = with_worker(&ours, None, &memory, Handshake::new(0), Some(deadline)).expect_err("it is not whole");
        assert!(matches!(error, HandshakeError::TimedOut), "{error:?}");
    }
}
