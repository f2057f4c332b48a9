//! How a parent and its new worker meet: the parent starts its own program with a variable in its environment and a
//! socket as standard input, sends the memory they share and a [`Hello`], and gets one back.

use std::fmt;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use super::os::{self, AsFd, OwnedFd, UnixStream, Waited};
use super::registry;
use crate::process::os::pidfd::Process;

/// How long a worker may take to say hello. Starting takes milliseconds; this is for machines that are overrun.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// What each side tells the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    /// See [`registry::fingerprint`].
    pub(super) fingerprint: u64,
    /// Bytes of private memory that the worker may have; 0 is no limit.
    pub(super) memory_limit: u64,
}

impl Hello {
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
                return Err(io::Error::other(Refusal(String::from_utf8_lossy(&why).into_owned())));
            }
            _ => return Err(io::Error::other("it does not speak Fanfold's protocol")),
        }
        Ok(Self { fingerprint: u64::from_ne_bytes(next()?), memory_limit: u64::from_ne_bytes(next()?) })
    }
}

/// Why a worker cannot start, in its own words.
#[derive(Debug)]
struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

/// The worker's side of a failed start: tells the parent why, if it still listens.
pub(super) fn refuse(socket: &mut UnixStream, why: &io::Error) {
    let message = [&Hello::REFUSAL[..], why.to_string().as_bytes()].concat();
    let _ = socket.write_all(&message);
}

/// Why a worker cannot be worked with.
#[derive(Debug)]
pub(super) enum Unmet {
    /// It says nothing.
    Silent,
    /// It is another build of the program.
    Other,
    /// It cannot start: why.
    Refused(String),
    /// It is gone, or speaks another language.
    Lost(io::Error),
}

/// The parent's side: sends the memory and a hello, and compares the answer, which must be there by the deadline.
pub(super) fn meet(
    socket: &UnixStream,
    process: Option<&Process>,
    memory: &OwnedFd,
    own: Hello,
    deadline: Option<Instant>,
) -> Result<(), Unmet> {
    os::send(socket, b'm', &[memory.as_fd()], true).map_err(Unmet::Lost)?;
    (&mut &*socket).write_all(&own.to_bytes()).map_err(Unmet::Lost)?;
    let patience = Instant::now().checked_add(PATIENCE);
    let deadline = deadline.into_iter().chain(patience).min();
    let theirs = Hello::read(&mut Until { socket, process, deadline }).map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut => Unmet::Silent,
        _ => match error.downcast::<Refusal>() {
            Ok(Refusal(why)) => Unmet::Refused(why),
            Err(error) => Unmet::Lost(error),
        },
    })?;
    if theirs == own { Ok(()) } else { Err(Unmet::Other) }
}

/// Reads from a worker's socket, until the deadline for all of it together. A worker that ends closes the socket; where
/// a copy that it has forked holds the socket open, the pidfd tells of its end.
struct Until<'a> {
    socket: &'a UnixStream,
    process: Option<&'a Process>,
    deadline: Option<Instant>,
}

impl Read for Until<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let waited = match self.process {
            Some(process) => process.listen(self.socket, self.deadline)?,
            None => os::wait(self.socket, None, self.deadline)?,
        };
        match waited {
            Waited::Socket => (&mut &*self.socket).read(bytes),
            Waited::Ended => Ok(0),
            Waited::TimeUp => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// What the parent makes of a worker that answers this; nothing closes the socket.
    fn answered(answer: &[u8]) -> Result<(), Unmet> {
        let (ours, mut theirs) = UnixStream::pair().expect("there are sockets");
        let memory = os::memory(1 << 12).expect("there is memory");
        theirs.write_all(answer).expect("there is room");
        theirs.shutdown(std::net::Shutdown::Write).expect("it is open");
        meet(&ours, None, &memory, Hello::new(7), None)
    }

    #[test]
    fn a_worker_is_of_the_same_build_or_is_none() {
        let hello = Hello::new(7);
        assert!(answered(&hello.to_bytes()).is_ok());
        let other = Hello { fingerprint: hello.fingerprint ^ 1, ..hello };
        assert!(matches!(answered(&other.to_bytes()), Err(Unmet::Other)));
        let error = answered(b"Usage: program [OPTIONS]").expect_err("that is no hello");
        assert!(matches!(&error, Unmet::Lost(error) if error.to_string().contains("protocol")), "{error:?}");
        assert!(matches!(answered(&[]), Err(Unmet::Lost(_))));
        let error = answered(b"fanfold!no memory").expect_err("that is a refusal");
        assert!(matches!(&error, Unmet::Refused(why) if why == "no memory"), "{error:?}");
    }

    #[test]
    fn a_worker_that_says_half_a_hello_is_silent_at_the_deadline() {
        let (ours, mut theirs) = UnixStream::pair().expect("there are sockets");
        let memory = os::memory(1 << 12).expect("there is memory");
        theirs.write_all(&Hello::new(0).to_bytes()[..11]).expect("there is room");
        let deadline = Instant::now() + Duration::from_millis(30);
        let error = meet(&ours, None, &memory, Hello::new(0), Some(deadline)).expect_err("it is not whole");
        assert!(matches!(error, Unmet::Silent), "{error:?}");
    }
}
