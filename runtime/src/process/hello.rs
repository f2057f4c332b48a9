//! How a parent and its new worker meet: the parent starts its own program with a variable in its environment and a
//! socket as standard input, sends the memory they share and a [`Hello`], and gets one back.

use std::io::{self, Read};

use super::registry;

/// The variable that tells a program that it was started as a worker: its parent's process id.
pub(super) const VARIABLE: &str = "FANFOLD_WORKER_OF";

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
