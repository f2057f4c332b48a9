//! The handshake of a parent and its new worker process.
//!
//! The parent starts its own program with a variable in the environment and a socket as standard input. It sends the
//! descriptor of the shared memory and a [`Handshake`] over the socket, and the worker answers with its own
//! [`Handshake`], or with the reason why it cannot start.

use std::fmt;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use super::os::{self, AsHandle, Handle, Socket, WaitResult};
use super::registry;
use super::worker_hooks::WorkerHooks;
use crate::process::os::ChildProcess;

/// The time that a worker may take to answer. A start takes milliseconds; this limit is for overloaded machines.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// The message that each side sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Handshake {
    /// The fingerprint of the program: see [`registry::fingerprint`].
    pub(super) fingerprint: u64,
    /// The bytes of private memory that the worker may have; 0 means no limit.
    pub(super) memory_limit: u64,
    /// The hooks of the pool.
    pub(super) hooks: WorkerHooks,
}

impl Handshake {
    pub(super) const SIZE: usize = 40;
    const MAGIC: [u8; 8] = *b"fanfold1";
    /// Stands in place of [`MAGIC`](Self::MAGIC) before the reason why the worker cannot start, which is text to the
    /// end.
    const REFUSAL: [u8; 8] = *b"fanfold!";

    pub(super) fn new(memory_limit: u64, hooks: WorkerHooks) -> Self {
        Self { fingerprint: registry::fingerprint(), memory_limit, hooks }
    }

    pub(super) fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..8].copy_from_slice(&Self::MAGIC);
        bytes[8..16].copy_from_slice(&self.fingerprint.to_ne_bytes());
        bytes[16..24].copy_from_slice(&self.memory_limit.to_ne_bytes());
        bytes[24..32].copy_from_slice(&self.hooks.start.to_ne_bytes());
        bytes[32..].copy_from_slice(&self.hooks.stop.to_ne_bytes());
        bytes
    }

    pub(super) fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut bytes = [0; 8];
        let mut next = || from.read_exact(&mut bytes).map(|()| bytes);
        match next()? {
            Self::MAGIC => {}
            Self::REFUSAL => {
                let mut why = Vec::new();
                // The user sees this text, so its length is bounded.
                from.take(1 << 10).read_to_end(&mut why)?;
                return Err(io::Error::other(StartRefusal(String::from_utf8_lossy(&why).into_owned())));
            }
            _ => return Err(io::Error::other("it does not speak Fanfold's protocol")),
        }
        let mut number = || next().map(u64::from_ne_bytes);
        let (fingerprint, memory_limit) = (number()?, number()?);
        Ok(Self { fingerprint, memory_limit, hooks: WorkerHooks { start: number()?, stop: number()? } })
    }
}

/// The reason why a worker cannot start, as it reports it.
#[derive(Debug)]
struct StartRefusal(String);

impl fmt::Display for StartRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartRefusal {}

/// Worker: reports to the parent why this process cannot start. The parent may be gone, so errors are ignored.
pub(super) fn refuse(socket: &mut Socket, why: &io::Error) {
    let message = [&Handshake::REFUSAL[..], why.to_string().as_bytes()].concat();
    let _ = socket.write_all(&message);
}

/// Why a handshake failed.
#[derive(Debug)]
pub(super) enum HandshakeError {
    /// The worker did not answer in time.
    TimedOut,
    /// The worker is another build of the program.
    OtherBuild,
    /// The worker reported why it cannot start.
    Refused(String),
    /// The worker closed the socket, or sent something else.
    Disconnected(io::Error),
}

/// Parent: sends the memory and `own`, and compares the answer with `own`.
pub(super) fn with_worker(
    socket: &Socket,
    process: Option<&ChildProcess>,
    memory: &Handle,
    own: Handshake,
    deadline: Option<Instant>,
) -> Result<(), HandshakeError> {
    os::send(socket, b'm', &[memory.as_handle()], true).map_err(HandshakeError::Disconnected)?;
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

/// Reads from a worker's socket until a deadline for all reads together. The end of the worker is end of file: it
/// closes the socket, or the pidfd reports it if a process that the worker forked holds the socket open.
struct DeadlineReader<'a> {
    socket: &'a Socket,
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

#[cfg(all(test, target_os = "linux", not(fanfold_portable)))]
mod tests {
    use super::*;

    /// The outcome of a handshake with a worker that sends `answer` and keeps running.
    fn answered(answer: &[u8]) -> Result<(), HandshakeError> {
        let (ours, mut theirs) = Socket::pair().expect("there are sockets");
        let memory = os::create_memory(1 << 12).expect("there is memory");
        theirs.write_all(answer).expect("there is room");
        theirs.shutdown(std::net::Shutdown::Write).expect("it is open");
        with_worker(&ours, None, &memory, Handshake::new(7, WorkerHooks::default()), None)
    }

    #[test]
    fn a_worker_of_another_build_is_refused() {
        let handshake = Handshake::new(7, WorkerHooks::default());
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
    fn half_a_handshake_times_out() {
        let (ours, mut theirs) = Socket::pair().expect("there are sockets");
        let memory = os::create_memory(1 << 12).expect("there is memory");
        theirs.write_all(&Handshake::new(0, WorkerHooks::default()).to_bytes()[..11]).expect("there is room");
        let deadline = Instant::now() + Duration::from_millis(30);
        let error = with_worker(&ours, None, &memory, Handshake::new(0, WorkerHooks::default()), Some(deadline))
            .expect_err("it is not whole");
        assert!(matches!(error, HandshakeError::TimedOut), "{error:?}");
    }
}
