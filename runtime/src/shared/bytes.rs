//! [`Bytes`]: bytes that processes read and write.

use std::fmt;
use std::io;
use std::sync::Arc;

use super::handle;
use super::memory::{HEADER, Memory};
use crate::process::CodecError;

/// Bytes of a fixed number that threads and processes read and write.
///
/// Reads and writes copy, and nothing keeps two of them apart: a read beside a write may see a part of it. Where that
/// matters, let each process write to a part of its own, or guard them with a [`Mutex`](super::Mutex).
///
/// # Examples
///
/// ```
/// use fanfold::shared::Bytes;
///
/// let image = Bytes::new(1 << 20)?;
/// image.write(100, b"pixels");
/// let mut pixels = [0; 6];
/// image.read(100, &mut pixels);
/// assert_eq!(&pixels, b"pixels");
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "SharedMemory")]
#[doc(alias = "Array")]
#[derive(Clone)]
pub struct Bytes(Arc<Memory>);

impl Bytes {
    /// Makes `len` zeros.
    ///
    /// # Errors
    ///
    /// If there is not so much shared memory.
    pub fn new(len: usize) -> io::Result<Self> {
        Memory::new(len).map(|memory| Self(Arc::new(memory)))
    }

    /// The number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies the bytes from `offset` on to `to`.
    ///
    /// # Panics
    ///
    /// If there are not so many.
    pub fn read(&self, offset: usize, to: &mut [u8]) {
        self.0.read(self.place(offset, to.len()), to);
    }

    /// Copies `from` to the bytes from `offset` on.
    ///
    /// # Panics
    ///
    /// If there are not so many.
    pub fn write(&self, offset: usize, from: &[u8]) {
        self.0.write_bytes(self.place(offset, from.len()), from);
    }

    /// A copy of all bytes.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len()];
        self.read(0, &mut bytes);
        bytes
    }

    #[track_caller]
    fn place(&self, offset: usize, len: usize) -> usize {
        let end = offset.checked_add(len).filter(|end| *end <= self.len());
        assert!(end.is_some(), "{len} bytes at {offset} are not within the {} shared bytes", self.len());
        HEADER + offset
    }

    fn memory(&self) -> &Memory {
        &self.0
    }

    #[allow(clippy::unnecessary_wraps, reason = "other handles check the memory")]
    fn of(memory: Memory) -> Result<Self, CodecError> {
        Ok(Self(Arc::new(memory)))
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({} bytes)", self.len())
    }
}

handle!(Bytes);
