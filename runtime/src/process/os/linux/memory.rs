//! Anonymous shared memory (`memfd`): creating, sealing, checking and mapping it.

use std::fs::File;
use std::io::{self, Error, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

use super::check;
use crate::process::os::refusal::{Operation, RefusedOperation};

/// Creates shared memory of a fixed size, which can be sent to another process. It is in no file system, and is freed
/// with its last descriptor and mapping.
pub(crate) fn create_memory(len: usize) -> io::Result<OwnedFd> {
    sealed_memory(len).map_err(|error| RefusedOperation::error(Operation::Memory, error))
}

fn sealed_memory(len: usize) -> io::Result<OwnedFd> {
    let size = libc::off_t::try_from(len).map_err(|_| Error::other("more memory than the system can address"))?;
    let fd = new_memory(len)?;
    // SAFETY: `ftruncate` takes numbers; the descriptor is open.
    check(unsafe { libc::ftruncate(fd.as_raw_fd(), size) })?;
    // Mapped memory must not shrink: access to the lost part would raise SIGBUS.
    let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    // SAFETY: `fcntl` with `F_ADD_SEALS` takes numbers; the descriptor is open.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, seals) })?;
    Ok(fd)
}

/// Creates shared memory with these bytes, sealed against every further write, which can be sent to another process.
pub(crate) fn create_sealed_memory(bytes: &[u8]) -> io::Result<OwnedFd> {
    let memory = new_memory(bytes.len()).map_err(|error| RefusedOperation::error(Operation::Memory, error));
    let mut file = File::from(memory?);
    file.write_all(bytes)?;
    let seals = libc::F_SEAL_WRITE | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    // SAFETY: `fcntl` with `F_ADD_SEALS` takes numbers; the file is open.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) })?;
    Ok(file.into())
}

/// Creates empty memory without seals, which may grow to `len` bytes.
fn new_memory(len: usize) -> io::Result<OwnedFd> {
    check_file_limit(len)?;
    // SAFETY: the name is a static C string.
    let fd = unsafe { libc::memfd_create(c"fanfold".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
    check(fd)?;
    // SAFETY: `memfd_create` succeeded, so `fd` is a new open descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Checks `RLIMIT_FSIZE`. It counts for shared memory, and growing a file beyond it raises SIGXFSZ, which ends the
/// process by default.
fn check_file_limit(len: usize) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // A sandbox may forbid `getrlimit`; then no limit is known.
    // SAFETY: `limit` is a valid place for the answer.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit) } == 0;
    if known && len as u64 > limit.rlim_cur { Err(Error::from_raw_os_error(libc::EFBIG)) } else { Ok(()) }
}

/// Memory that is shared with another process. It stays mapped at one address until it is dropped.
pub(crate) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping belongs to the process and not to a thread. `Mapping` itself accesses no bytes; code that does so
// through `start` is responsible for its accesses.
unsafe impl Send for Mapping {}

// SAFETY: `&Mapping` gives out the address and the length only, which do not change.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps all memory of a descriptor that [`create_memory`] made.
    pub(crate) fn new(fd: &OwnedFd) -> io::Result<Self> {
        let len = check_memory(fd, libc::F_SEAL_SHRINK, None)?;
        Self::map(fd, len, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED)
    }

    /// Maps memory that an untrusted process made and sent. At most `unwritten` bytes of it may never have been written
    /// to, so that the sender has paid for its size.
    pub(crate) fn received(fd: &OwnedFd, unwritten: usize) -> io::Result<Self> {
        let len = check_memory(fd, libc::F_SEAL_SHRINK, Some(unwritten))?;
        Self::map(fd, len, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED)
    }

    /// Maps memory that [`create_sealed_memory`] made, perhaps in another process: nothing can write to it any more.
    pub(crate) fn sealed(fd: &OwnedFd) -> io::Result<Self> {
        let len = check_memory(fd, libc::F_SEAL_SHRINK | libc::F_SEAL_WRITE, Some(0))?;
        // A private mapping, because kernels before 6.7 refuse shared mappings of memory that is sealed against
        // writing.
        Self::map(fd, len, libc::PROT_READ, libc::MAP_PRIVATE)
    }

    fn map(fd: &OwnedFd, len: usize, access: libc::c_int, flags: libc::c_int) -> io::Result<Self> {
        // SAFETY: without MAP_FIXED the kernel chooses an unused address, so no existing mapping changes.
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

/// Checks memory of [`create_memory`] or [`create_sealed_memory`], perhaps from another process; returns its size.
/// Access to it never faults: it has at least `seals`, which cannot be removed, it is in no other kind of file system,
/// and with `unwritten` it is longer than what was written to it by at most this number of bytes.
fn check_memory(fd: &OwnedFd, seals: libc::c_int, unwritten: Option<usize>) -> io::Result<usize> {
    // The seals come first: without them, the answers of the next calls may be outdated at once. Files that support no
    // seals are refused here.
    // SAFETY: `fcntl` with `F_GET_SEALS` takes numbers; the descriptor is open.
    let sealed = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) })?;
    if sealed & seals != seals {
        return Err(Error::other("the memory may change or shrink while it is used"));
    }
    let mut system = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the descriptor is open, and `system` is a valid place for the answer.
    check(unsafe { libc::fstatfs(fd.as_raw_fd(), system.as_mut_ptr()) })?;
    // SAFETY: `fstatfs` succeeded, so it has written the answer.
    if i128::from(unsafe { system.assume_init() }.f_type) != i128::from(libc::TMPFS_MAGIC) {
        return Err(Error::other("the memory is of huge pages, of which there may be none when it is touched"));
    }
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the descriptor is open, and `stat` is a valid place for the answer.
    check(unsafe { libc::fstat(fd.as_raw_fd(), stat.as_mut_ptr()) })?;
    // SAFETY: `fstat` succeeded, so it has written the answer.
    let stat = unsafe { stat.assume_init() };
    let len = usize::try_from(stat.st_size).ok().filter(|len| *len > 0);
    let len = len.ok_or_else(|| Error::other("the memory is empty"))?;
    // `st_blocks` counts units of 512 bytes.
    let written = usize::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
    if unwritten.is_some_and(|unwritten| written.saturating_add(unwritten) < len) {
        return Err(Error::other("the memory is larger than what was written to it"));
    }
    Ok(len)
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `map` made this mapping with this length. Code that uses its bytes borrows or owns the `Mapping`, so
        // none uses them now.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// Whether a descriptor is memory of any kind (`memfd`), whose `close` never waits.
pub(crate) fn is_memory(fd: &OwnedFd) -> bool {
    // Only memory supports seals.
    // SAFETY: `fcntl` with `F_GET_SEALS` takes numbers; the descriptor is open.
    unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) >= 0 }
}

/// Asks for huge pages for memory that is about to be written, which saves nine of ten page faults. The kernel keeps
/// memory with this advice in a mapping of its own, and a process may have some 65,000 mappings. So the advice is given
/// for whole huge pages only.
pub(crate) fn advise_huge_pages(start: *mut u8, len: usize) {
    const LARGE_PAGE: usize = 2 << 20;
    let first = start.addr().next_multiple_of(LARGE_PAGE);
    let end = (start.addr() + len) / LARGE_PAGE * LARGE_PAGE;
    if end > first {
        // SAFETY: the range consists of whole pages within the caller's allocation, and this advice changes no
        // contents.
        unsafe { libc::madvise(start.with_addr(first).cast(), end - first, libc::MADV_HUGEPAGE) };
    }
}
