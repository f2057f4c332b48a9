//! Anonymous shared memory (`memfd`): creating, sealing, checking and mapping it.

use std::fs::File;
use std::io::{self, Error, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;

use memmap2::{Mmap, MmapOptions, MmapRaw};
use rustix::fs::{FallocateFlags, FlockOperation, MemfdFlags, Mode, OFlags, SealFlags};

use crate::process::os::refusal::{Operation, RefusedOperation};
use crate::process::os::unix::check_file_limit;

/// The seals of memory of a fixed size. Mapped memory must not shrink: access to the lost part would raise SIGBUS.
const FIXED_SIZE: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// Creates shared memory of a fixed size, which can be sent to another process. It is in no file system, and is freed
/// with its last descriptor and mapping.
pub(crate) fn create_memory(len: usize) -> io::Result<OwnedFd> {
    sealed_memory(len).map_err(|error| RefusedOperation::error(Operation::Memory, error))
}

/// As [`create_memory`], with all of its pages, so that the kernel has memory for every access.
pub(crate) fn create_whole_memory(len: usize) -> io::Result<OwnedFd> {
    let whole = || {
        let fd = new_memory(len)?;
        rustix::io::retry_on_intr(|| rustix::fs::fallocate(&fd, FallocateFlags::empty(), 0, len as u64))?;
        rustix::fs::fcntl_add_seals(&fd, FIXED_SIZE)?;
        Ok(fd)
    };
    whole().map_err(|error| RefusedOperation::error(Operation::Memory, error))
}

/// A lock on memory's file (`flock`), which the kernel releases when the last descriptor of the holder is closed.
pub(crate) struct MemoryLock(OwnedFd);

impl MemoryLock {
    /// Opens memory once more, because locks on a file belong to who opened it.
    pub(crate) fn new(fd: &OwnedFd) -> io::Result<Self> {
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let opened = rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        opened.map(Self).map_err(|error| RefusedOperation::error(Operation::Duplicate, error.into()))
    }

    /// Locks the file against all others who opened it; `false` if one of them has locked it. The word is not used.
    pub(crate) fn try_lock(&self, _: &AtomicU32) -> io::Result<bool> {
        match rustix::io::retry_on_intr(|| rustix::fs::flock(&self.0, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn unlock(&self, _: &AtomicU32) {
        // It cannot fail for an open file.
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

fn sealed_memory(len: usize) -> io::Result<OwnedFd> {
    let fd = new_memory(len)?;
    rustix::fs::ftruncate(&fd, len as u64)?;
    rustix::fs::fcntl_add_seals(&fd, FIXED_SIZE)?;
    Ok(fd)
}

/// Creates shared memory with these bytes, sealed against every further write, which can be sent to another process.
pub(crate) fn create_sealed_memory(bytes: &[u8]) -> io::Result<OwnedFd> {
    let memory = new_memory(bytes.len()).map_err(|error| RefusedOperation::error(Operation::Memory, error));
    let mut file = File::from(memory?);
    file.write_all(bytes)?;
    rustix::fs::fcntl_add_seals(&file, FIXED_SIZE | SealFlags::WRITE)?;
    Ok(file.into())
}

/// Creates empty memory without seals, which may grow to `len` bytes.
fn new_memory(len: usize) -> io::Result<OwnedFd> {
    check_file_limit(len)?;
    Ok(rustix::fs::memfd_create(c"fanfold", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?)
}

/// Memory that is shared with another process. It stays mapped at one address until it is dropped.
pub(crate) enum Mapping {
    /// Both processes may write to it. Code that accesses its bytes is responsible for its accesses.
    Shared(MmapRaw),
    /// Nothing can write to it any more.
    Sealed(Mmap),
}

impl Mapping {
    /// Maps all memory of a descriptor that [`create_memory`] made.
    pub(crate) fn new(fd: &OwnedFd) -> io::Result<Self> {
        Self::shared(fd, check_memory(fd, SealFlags::SHRINK, None)?)
    }

    /// Maps memory that an untrusted process made and sent. At most `unwritten` bytes of it may never have been written
    /// to, so that the sender has paid for its size.
    pub(crate) fn received(fd: &OwnedFd, unwritten: usize) -> io::Result<Self> {
        Self::shared(fd, check_memory(fd, SealFlags::SHRINK, Some(unwritten))?)
    }

    fn shared(fd: &OwnedFd, len: usize) -> io::Result<Self> {
        let mapped = MmapOptions::new().len(len).map_raw(fd.as_raw_fd());
        mapped.map(Self::Shared).map_err(|error| RefusedOperation::error(Operation::Map, error))
    }

    /// Maps memory that [`create_sealed_memory`] made, perhaps in another process.
    pub(crate) fn sealed(fd: &OwnedFd) -> io::Result<Self> {
        let len = check_memory(fd, SealFlags::SHRINK | SealFlags::WRITE, Some(0))?;
        // A private mapping, because kernels before 6.7 refuse shared mappings of memory that is sealed against
        // writing.
        // SAFETY: `check_memory` found the seals against writing and shrinking, which cannot be removed, so the bytes
        // do not change while they are mapped.
        let mapped = unsafe { MmapOptions::new().len(len).map_copy_read_only(fd.as_raw_fd()) };
        mapped.map(Self::Sealed).map_err(|error| RefusedOperation::error(Operation::Map, error))
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        let start = match self {
            Self::Shared(memory) => memory.as_mut_ptr(),
            Self::Sealed(memory) => memory.as_ptr().cast_mut(),
        };
        NonNull::new(start).expect("no mapping starts at address 0")
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Shared(memory) => memory.len(),
            Self::Sealed(memory) => memory.len(),
        }
    }
}

/// Checks memory of [`create_memory`] or [`create_sealed_memory`], perhaps from another process; returns its size.
/// Access to it never faults: it has at least `seals`, which cannot be removed, it is in no other kind of file system,
/// and with `unwritten` it is longer than what was written to it by at most this number of bytes.
fn check_memory(fd: &OwnedFd, seals: SealFlags, unwritten: Option<usize>) -> io::Result<usize> {
    // The seals come first: without them, the answers of the next calls may be outdated at once. Files that support no
    // seals are refused here.
    if !rustix::fs::fcntl_get_seals(fd)?.contains(seals) {
        return Err(Error::other("the memory may change or shrink while it is used"));
    }
    if i128::from(rustix::fs::fstatfs(fd)?.f_type) != i128::from(libc::TMPFS_MAGIC) {
        return Err(Error::other("the memory is of huge pages, of which there may be none when it is touched"));
    }
    let stat = rustix::fs::fstat(fd)?;
    let len = usize::try_from(stat.st_size).ok().filter(|len| *len > 0);
    let len = len.ok_or_else(|| Error::other("the memory is empty"))?;
    // `st_blocks` counts units of 512 bytes.
    let written = usize::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
    if unwritten.is_some_and(|unwritten| written.saturating_add(unwritten) < len) {
        return Err(Error::other("the memory is larger than what was written to it"));
    }
    Ok(len)
}

/// Whether a descriptor is memory of any kind (`memfd`), whose `close` never waits.
pub(crate) fn is_memory(fd: &OwnedFd) -> bool {
    // Only memory supports seals.
    rustix::fs::fcntl_get_seals(fd).is_ok()
}
