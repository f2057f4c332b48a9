//! Shared memory on Unix: anonymous on Linux (`memfd`), elsewhere POSIX shared memory, whose name is removed at once.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Mutex;

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::shm;

use crate::process::os::unix::check_file_limit;
use crate::sys::mutex;
use crate::sys::owner::PerProcess;

pub(crate) type RawMemory = OwnedFd;

/// Creates zeroed memory.
pub(in crate::process::os::portable) fn new_memory(len: usize) -> io::Result<RawMemory> {
    check_file_limit(len)?;
    let memory = empty_memory()?;
    rustix::fs::ftruncate(&memory, len as u64)?;
    Ok(memory)
}

#[cfg(target_os = "linux")]
fn empty_memory() -> io::Result<RawMemory> {
    match rustix::fs::memfd_create(c"fanfold", rustix::fs::MemfdFlags::CLOEXEC) {
        // A sandbox forbids it.
        Err(error @ (Errno::NOSYS | Errno::PERM | Errno::ACCESS)) => named_memory().map_err(|_| error.into()),
        memory => Ok(memory?),
    }
}

#[cfg(not(target_os = "linux"))]
fn empty_memory() -> io::Result<RawMemory> {
    named_memory()
}

/// Creates empty POSIX shared memory, and removes its name.
///
/// A process has one name at a time. If it is killed between both calls, the name stays, until the parent of a worker
/// notices its end ([`remove_name_of`]), or until another process with the same id comes here.
fn named_memory() -> io::Result<RawMemory> {
    static ONE_AT_A_TIME: PerProcess<Mutex<()>> = PerProcess::new();
    let flags = shm::OFlags::CREATE | shm::OFlags::EXCL | shm::OFlags::RDWR;
    let _guard = mutex::lock(ONE_AT_A_TIME.get());
    let mut number = 0;
    loop {
        let name = name_of(std::process::id(), number);
        match shm::open(&*name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(memory) => {
                // It fails if a process with the same id, in another container, has just removed the name.
                let _ = shm::unlink(&*name);
                return Ok(memory);
            }
            // A process with this id was killed here, or it is in another container and has opened its memory already.
            Err(Errno::EXIST) if shm::unlink(&*name).is_ok() => {}
            // Another user's.
            Err(Errno::EXIST) => number += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// macOS allows names of 31 bytes.
fn name_of(process: u32, number: u32) -> String {
    format!("/fanfold-shm-{process:x}-{number:x}")
}

/// Removes the name that a process may have left, which has ended.
pub(crate) fn remove_name_of(process: u32) {
    // It fails if there is none.
    let _ = shm::unlink(&*name_of(process, 0));
}

/// Has the system provide all pages of new memory.
#[cfg(target_os = "linux")]
pub(in crate::process::os::portable) fn allocate(memory: &RawMemory, len: usize) -> io::Result<()> {
    let flags = rustix::fs::FallocateFlags::empty();
    Ok(rustix::io::retry_on_intr(|| rustix::fs::fallocate(memory, flags, 0, len as u64))?)
}

#[cfg(not(target_os = "linux"))]
#[allow(clippy::unnecessary_wraps, reason = "not on every system")]
pub(in crate::process::os::portable) fn allocate(_: &RawMemory, _: usize) -> io::Result<()> {
    Ok(())
}

/// Checks that memory which another process sent has `len` bytes. On Linux at most `unwritten` of them were never
/// written, so that the sender has paid for its size.
pub(in crate::process::os::portable) fn check_memory(
    memory: &RawMemory,
    len: usize,
    unwritten: usize,
) -> io::Result<()> {
    let stat = rustix::fs::fstat(memory)?;
    if usize::try_from(stat.st_size).unwrap_or(0) < len {
        return Err(io::Error::other("the memory is shorter than was said"));
    }
    // `st_blocks` counts units of 512 bytes. macOS does not count those of shared memory.
    let written = usize::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
    if cfg!(target_os = "linux") && written.saturating_add(unwritten) < len {
        return Err(io::Error::other("the memory is larger than what was written to it"));
    }
    Ok(())
}

pub(crate) struct RawMapping(MmapRaw);

impl RawMapping {
    pub(in crate::process::os::portable) fn new(memory: &RawMemory, len: usize) -> io::Result<Self> {
        MmapOptions::new().len(len).map_raw(memory.as_raw_fd()).map(Self)
    }

    pub(in crate::process::os::portable) fn start(&self) -> NonNull<u8> {
        NonNull::new(self.0.as_mut_ptr()).expect("no mapping starts at address 0")
    }

    pub(in crate::process::os::portable) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exists(process: u32) -> bool {
        shm::open(&*name_of(process, 0), shm::OFlags::RDWR, Mode::empty()).is_ok()
    }

    fn leave_name_of(process: u32) {
        let flags = shm::OFlags::CREATE | shm::OFlags::RDWR;
        shm::open(&*name_of(process, 0), flags, Mode::RUSR | Mode::WUSR).expect("there is memory");
        assert!(exists(process));
    }

    #[test]
    fn a_name_that_was_left_is_removed_by_the_next_process_with_the_id() {
        leave_name_of(std::process::id());
        let memory = named_memory().expect("there is memory");
        rustix::fs::ftruncate(&memory, 64).expect("there is memory");
        assert_eq!(RawMapping::new(&memory, 64).expect("it can be mapped").len(), 64);
        assert!(!exists(std::process::id()));
    }

    #[test]
    fn a_parent_removes_the_name_that_a_killed_child_has_left() {
        let command = std::process::Command::new("sleep").arg("1000").spawn().expect("it starts");
        let child = crate::process::os::ChildProcess::new(command).expect("it can be watched");
        let id = child.id();
        leave_name_of(id);
        drop(child);
        assert!(!exists(id));
    }
}
