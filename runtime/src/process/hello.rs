//! How a parent and its new worker meet: the parent starts its own program with a variable in its environment and a
//! socket as standard input, sends the memory they share and a [`Hello`], and gets one back.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use super::os::{self, AsFd, OwnedFd, UnixStream, Waited};
use super::registry;

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
        if next()? != Self::MAGIC {
            return Err(io::Error::other("it does not speak Fanfold's protocol"));
        }
        Ok(Self { fingerprint: u64::from_ne_bytes(next()?), memory_limit: u64::from_ne_bytes(next()?) })
    }
}

/// Why a worker cannot be worked with.
#[derive(Debug)]
pub(super) enum Unmet {
    /// It says nothing.
    Silent,
    /// It is another build of the program.
    Other,
    /// It is gone, or speaks another language.
    Lost(io::Error),
}

/// The parent's side: sends the memory and a hello, and compares the answer.
pub(super) fn meet(socket: &mut UnixStream, memory: &OwnedFd, own: Hello) -> Result<(), Unmet> {
    os::send(socket, b'm', &[memory.as_fd()]).map_err(Unmet::Lost)?;
    socket.write_all(&own.to_bytes()).map_err(Unmet::Lost)?;
    let deadline = Instant::now().checked_add(PATIENCE);
    // A worker that ends first closes the socket: reading then fails.
    if os::wait(socket, None, deadline).map_err(Unmet::Lost)? == Waited::TimeUp {
        return Err(Unmet::Silent);
    }
    socket.set_read_timeout(Some(PATIENCE)).map_err(Unmet::Lost)?;
    let theirs = Hello::read(socket).map_err(Unmet::Lost)?;
    socket.set_read_timeout(None).map_err(Unmet::Lost)?;
    if theirs == own { Ok(()) } else { Err(Unmet::Other) }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// What the parent makes of a worker that answers this; nothing closes the socket.
    fn answered(answer: &[u8]) -> Result<(), Unmet> {
        let (mut ours, mut theirs) = UnixStream::pair().expect("there are sockets");
        let memory = os::memory(1 << 12).expect("there is memory");
        theirs.write_all(answer).expect("there is room");
        theirs.shutdown(std::net::Shutdown::Write).expect("it is open");
        meet(&mut ours, &memory, Hello::new(7))
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
    }
}
