//! Anonymous shared memory (`memfd`): creating, sealing, checking and mapping it.

use std::fs::File;
use std::io::{self, Error, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

use super::check;
use crate::process::os::refusal::{Operation, RefusedOperation};

/// Makes memory that can be sent to another process: gone when nobody holds it, in no file system, of a fixed size.
pub(crate) fn create_memory(len: usize) -> io::Result<OwnedFd> {
    sealed_memory(len).map_err(|error| RefusedOperation::error(Operation::Memory, error))
}

fn sealed_memory(len: usize) -> io::Result<OwnedFd> {
    let size = libc::off_t::try_from(len).map_err(|_| Error::other("more memory than the system can address"))?;
    let fd = new_memory(len)?;
    // SAFETY: a descriptor that is open.
    check(unsafe { libc::ftruncate(fd.as_raw_fd(), size) })?;
    // What is mapped must not shrink: touching the lost part would end the process.
    let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    // SAFETY: as above.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, seals) })?;
    Ok(fd)
}

/// Makes memory with these bytes that can be sent to another process, and that nobody can write to any more.
pub(crate) fn create_sealed_memory(bytes: &[u8]) -> io::Result<OwnedFd> {
    let memory = new_memory(bytes.len()).map_err(|error| RefusedOperation::error(Operation::Memory, error));
    let mut file = File::from(memory?);
    file.write_all(bytes)?;
    let seals = libc::F_SEAL_WRITE | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    // SAFETY: a descriptor that is open.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) })?;
    Ok(file.into())
}

/// Memory without a name and without seals, empty yet, for so many bytes.
fn new_memory(len: usize) -> io::Result<OwnedFd> {
    check_file_limit(len)?;
    // SAFETY: the name is a C string, and the result is checked.
    let fd = unsafe { libc::memfd_create(c"fanfold".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
    check(fd)?;
    // SAFETY: new, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// That a file may be so long. Shared memory counts as one, and growing a file beyond the limit ends the process
/// (SIGXFSZ) where the program does not ignore that.
fn check_file_limit(len: usize) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // A sandbox may forbid to ask.
    // SAFETY: room for the answer.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit) } == 0;
    if known && len as u64 > limit.rlim_cur { Err(Error::from_raw_os_error(libc::EFBIG)) } else { Ok(()) }
}

/// Memory that is shared with another process. It stays where it is until this is dropped.
pub(crate) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping belongs to the process, not to a thread; what is done to its bytes, its users answer for.
unsafe impl Send for Mapping {}

// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps all of the memory behind a descriptor of [`create_memory`].
    pub(crate) fn new(fd: &OwnedFd) -> io::Result<Self> {
        let len = check_memory(fd, libc::F_SEAL_SHRINK, None)?;
        Self::map(fd, len, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED)
    }

    /// As [`new`](Self::new), of memory that another process made and sent, which may lie: all but `unwritten` bytes of
    /// it must have been written to, so that its size is one that the other process has paid for.
    pub(crate) fn received(fd: &OwnedFd, unwritten: usize) -> io::Result<Self> {
        let len = check_memory(fd, libc::F_SEAL_SHRINK, Some(unwritten))?;
        Self::map(fd, len, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED)
    }

    /// Maps what [`create_sealed_memory`] made in another process: nobody can write to it any more.
    pub(crate) fn sealed(fd: &OwnedFd) -> io::Result<Self> {
        let len = check_memory(fd, libc::F_SEAL_SHRINK | libc::F_SEAL_WRITE, Some(0))?;
        // Private, though nobody writes to it: before 6.7 the kernel shares no memory that is sealed against writing.
        Self::map(fd, len, libc::PROT_READ, libc::MAP_PRIVATE)
    }

    fn map(fd: &OwnedFd, len: usize, access: libc::c_int, flags: libc::c_int) -> io::Result<Self> {
        // SAFETY: a new mapping at a place of the system's choice.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), len, access, flags, fd.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(RefusedOperation::error(Operation::Map, Error::last_os_error()));
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| Error::other("mapped at address 0"))?;
        Ok(Self { start, len })
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

/// The size of memory that [`create_memory`] or [`create_sealed_memory`] made, perhaps in another process. Touching it
/// never faults: it has at least these seals, of which none can be taken off, is no file of another kind, and, if it
/// may be longer than what was written to it only by so many bytes, is not.
fn check_memory(fd: &OwnedFd, seals: libc::c_int, unwritten: Option<usize>) -> io::Result<usize> {
    // First of all: what is read before the seals are there may change. Files that know no seals are refused.
    // SAFETY: an open descriptor.
    let sealed = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) })?;
    if sealed & seals != seals {
        return Err(Error::other("the memory may change or shrink while it is used"));
    }
    let mut system = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: an open descriptor, and room for the answer.
    check(unsafe { libc::fstatfs(fd.as_raw_fd(), system.as_mut_ptr()) })?;
    // SAFETY: it succeeded, so it is written.
    if i128::from(unsafe { system.assume_init() }.f_type) != i128::from(libc::TMPFS_MAGIC) {
        return Err(Error::other("the memory is of huge pages, of which there may be none when it is touched"));
    }
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: an open descriptor, and room for the answer.
    check(unsafe { libc::fstat(fd.as_raw_fd(), stat.as_mut_ptr()) })?;
    // SAFETY: it succeeded, so it is written.
    let stat = unsafe { stat.assume_init() };
    let len = usize::try_from(stat.st_size).ok().filter(|len| *len > 0);
    let len = len.ok_or_else(|| Error::other("the memory is empty"))?;
    // The system counts in units of 512 bytes.
    let written = usize::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
    if unwritten.is_some_and(|unwritten| written.saturating_add(unwritten) < len) {
        return Err(Error::other("the memory is larger than what was written to it"));
    }
    Ok(len)
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and whoever uses the memory keeps the mapping.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// Whether a file is memory, of whatever kind, so that closing it never waits.
pub(crate) fn is_memory(fd: &OwnedFd) -> bool {
    // Nothing else knows seals.
    // SAFETY: an open descriptor.
    unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) >= 0 }
}

/// Asks for few, large pages for memory that is about to be written: a tenth of the faults. The system keeps memory
/// with this advice apart from memory without it, as one more mapping, of which a process may have some 65,000: so it
/// is given only for whole large pages, which memory that large has to itself.
pub(crate) fn advise_huge_pages(start: *mut u8, len: usize) {
    const LARGE_PAGE: usize = 2 << 20;
    let first = start.addr().next_multiple_of(LARGE_PAGE);
    let end = (start.addr() + len) / LARGE_PAGE * LARGE_PAGE;
    if end > first {
        // SAFETY: whole pages of an allocation of the caller's; advice changes no content.
        unsafe { libc::madvise(start.with_addr(first).cast(), end - first, libc::MADV_HUGEPAGE) };
    }
}
