//! Shared memory: creating, passing on and mapping it.

use std::io;
use std::ptr::NonNull;
use std::sync::Arc;

use super::Handle;
use super::system::{self, RawMapping, RawMemory};
use crate::process::os::refusal::{Operation, RefusedOperation};

/// A handle of shared memory, with its length. The system frees the memory with the last handle of any process.
#[derive(Clone)]
pub(crate) struct MemoryHandle {
    raw: Arc<RawMemory>,
    len: usize,
}

impl MemoryHandle {
    /// Memory that another process sent, of at least `len` bytes, as `raw` says.
    pub(super) fn new(raw: RawMemory, len: usize) -> Self {
        Self { raw: Arc::new(raw), len }
    }

    pub(super) fn raw(&self) -> &RawMemory {
        &self.raw
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
}

/// Creates zeroed memory of a fixed size.
pub(crate) fn create_memory(len: usize) -> io::Result<Handle> {
    let raw = system::new_memory(len).map_err(|error| RefusedOperation::error(Operation::Memory, error))?;
    Ok(Handle::Memory(MemoryHandle::new(raw, len)))
}

/// As [`create_memory`], with all of its pages, where the system can promise them.
pub(crate) fn create_whole_memory(len: usize) -> io::Result<Handle> {
    let handle = create_memory(len)?;
    if let Handle::Memory(memory) = &handle {
        let whole = system::allocate(memory.raw(), len);
        whole.map_err(|error| RefusedOperation::error(Operation::Memory, error))?;
    }
    Ok(handle)
}

/// Creates memory with these bytes. Its receiver copies them, because nothing can seal them.
pub(crate) fn create_sealed_memory(bytes: &[u8]) -> io::Result<Handle> {
    let handle = create_memory(bytes.len())?;
    let mapping = Mapping::new(&handle)?;
    // SAFETY: the mapping is as long as `bytes`, and no other process knows the memory yet.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), mapping.start().as_ptr(), bytes.len()) };
    Ok(handle)
}

/// Memory that is shared with another process, or a copy of it. It stays at one address until it is dropped.
pub(crate) enum Mapping {
    /// Both processes may write to it. Code that accesses its bytes is responsible for its accesses.
    Shared(RawMapping),
    /// A copy, which no other process can change.
    Copied(Vec<u8>),
}

impl Mapping {
    /// Maps all memory of a handle that [`create_memory`] made.
    pub(crate) fn new(handle: &Handle) -> io::Result<Self> {
        let Handle::Memory(memory) = handle else { return Err(io::Error::other("a handle is no shared memory")) };
        if memory.len == 0 {
            return Err(io::Error::other("the memory is empty"));
        }
        let mapped = RawMapping::new(memory.raw(), memory.len);
        mapped.map(Self::Shared).map_err(|error| RefusedOperation::error(Operation::Map, error))
    }

    /// Maps memory that an untrusted process made and sent.
    pub(crate) fn received(handle: &Handle, unwritten: usize) -> io::Result<Self> {
        if let Handle::Memory(memory) = handle {
            system::check_memory(memory.raw(), memory.len, unwritten)?;
        }
        Self::new(handle)
    }

    /// Copies the bytes of memory that [`create_sealed_memory`] made.
    pub(crate) fn sealed(handle: &Handle) -> io::Result<Self> {
        let mapping = Self::received(handle, 0)?;
        let mut copy = Vec::new();
        copy.try_reserve_exact(mapping.len()).map_err(|_| io::ErrorKind::OutOfMemory)?;
        // SAFETY: the mapping has `len` bytes, for which `copy` has room. The other process may write to them
        // meanwhile; any bytes are valid.
        unsafe {
            std::ptr::copy_nonoverlapping(mapping.start().as_ptr(), copy.as_mut_ptr(), mapping.len());
            copy.set_len(mapping.len());
        }
        Ok(Self::Copied(copy))
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        match self {
            Self::Shared(memory) => memory.start(),
            Self::Copied(copy) => NonNull::from(&copy[..]).cast(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Shared(memory) => memory.len(),
            Self::Copied(copy) => copy.len(),
        }
    }
}
