//! Shared memory on Windows: sections of the paging file without a name.

use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::NonNull;

use windows_sys::Win32::Foundation::INVALID_HANDLE_VALUE;
use windows_sys::Win32::System::Memory::{
    CreateFileMappingW, FILE_MAP_READ, FILE_MAP_WRITE, MEM_COMMIT, MEMORY_BASIC_INFORMATION,
    MEMORY_MAPPED_VIEW_ADDRESS, MapViewOfFile, PAGE_READWRITE, UnmapViewOfFile, VirtualQuery,
};

pub(crate) type RawMemory = OwnedHandle;

/// Creates a section of the paging file without a name.
pub(in crate::process::os::portable) fn new_memory(len: usize) -> io::Result<RawMemory> {
    let len = len as u64;
    let [low, high] = [len & u64::from(u32::MAX), len >> 32].map(|half| u32::try_from(half).unwrap_or(u32::MAX));
    let none = std::ptr::null();
    // SAFETY: both pointers may be null: the default security, and no name.
    let section = unsafe { CreateFileMappingW(INVALID_HANDLE_VALUE, none, PAGE_READWRITE, high, low, none.cast()) };
    if section.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so this is a new handle that nothing else owns.
    Ok(unsafe { OwnedHandle::from_raw_handle(section) })
}

/// The system has promised all pages of a section already.
#[allow(clippy::unnecessary_wraps, reason = "not on every system")]
pub(in crate::process::os::portable) fn allocate(_: &RawMemory, _: usize) -> io::Result<()> {
    Ok(())
}

/// Memory that is shorter than was said cannot be mapped.
#[allow(clippy::unnecessary_wraps, reason = "not on every system")]
pub(in crate::process::os::portable) fn check_memory(_: &RawMemory, _: usize, _: usize) -> io::Result<()> {
    Ok(())
}

/// A view of a section.
pub(crate) struct RawMapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a view belongs to the process, and may be used and unmapped on any thread.
unsafe impl Send for RawMapping {}
// SAFETY: a shared reference gives an address and a length; code that accesses the bytes is responsible for its accesses.
unsafe impl Sync for RawMapping {}

impl RawMapping {
    pub(in crate::process::os::portable) fn new(memory: &RawMemory, len: usize) -> io::Result<Self> {
        // SAFETY: the handle is open. A handle that is no section is an error.
        let view = unsafe { MapViewOfFile(memory.as_raw_handle(), FILE_MAP_READ | FILE_MAP_WRITE, 0, 0, len) };
        let start = NonNull::new(view.Value.cast()).ok_or_else(io::Error::last_os_error)?;
        let mapping = Self { start, len };
        // Another process may have made a section without memory, an access to which would fault.
        // SAFETY: an all-zero `MEMORY_BASIC_INFORMATION` is a valid value and a valid place for the answer.
        let mut region: MEMORY_BASIC_INFORMATION = unsafe { std::mem::zeroed() };
        // SAFETY: `region` is a valid place of the given size.
        let size = unsafe { VirtualQuery(view.Value, &raw mut region, size_of::<MEMORY_BASIC_INFORMATION>()) };
        if size == 0 || region.State != MEM_COMMIT || region.RegionSize < len {
            return Err(io::Error::other("the memory may fault when it is used"));
        }
        Ok(mapping)
    }

    pub(in crate::process::os::portable) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(in crate::process::os::portable) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for RawMapping {
    fn drop(&mut self) {
        // SAFETY: `new` made the view, and nothing uses it after this.
        unsafe { UnmapViewOfFile(MEMORY_MAPPED_VIEW_ADDRESS { Value: self.start.as_ptr().cast() }) };
    }
}

/// Sections have no names that a process could leave.
pub(crate) fn remove_name_of(_: u32) {}
