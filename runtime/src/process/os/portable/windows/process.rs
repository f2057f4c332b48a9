//! Processes on Windows: their limits, ends and exit codes.

use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::process::{Command, ExitStatus};

use windows_sys::Win32::Foundation::WAIT_TIMEOUT;
use windows_sys::Win32::System::Console::{CTRL_BREAK_EVENT, CTRL_C_EVENT, SetConsoleCtrlHandler};
use windows_sys::Win32::System::Diagnostics::Debug::{SEM_NOGPFAULTERRORBOX, SetErrorMode};
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_PROCESS_MEMORY, JOBOBJECT_EXTENDED_LIMIT_INFORMATION,
    JobObjectExtendedLimitInformation, SetInformationJobObject,
};
use windows_sys::Win32::System::Memory::{MEM_IMAGE, MEMORY_BASIC_INFORMATION, VirtualQuery};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcess, PROCESS_SYNCHRONIZE, WaitForSingleObject};

use crate::process::os::refusal::{Operation, RefusedOperation};

/// Whether the process that says it is the parent of this one runs.
pub(crate) fn is_parent(process: u32) -> bool {
    is_running(process)
}

/// Whether a process runs.
pub(in crate::process::os::portable) fn is_running(process: u32) -> bool {
    // SAFETY: the call takes numbers.
    let handle = unsafe { OpenProcess(PROCESS_SYNCHRONIZE, 0, process) };
    if handle.is_null() {
        return false;
    }
    // SAFETY: the call succeeded, so this is a new handle that nothing else owns.
    let handle = unsafe { OwnedHandle::from_raw_handle(handle) };
    // SAFETY: the handle is open.
    unsafe { WaitForSingleObject(handle.as_raw_handle(), 0) == WAIT_TIMEOUT }
}

/// Limits the private memory of this process, by a job object. Allocations beyond the limit fail.
pub(crate) fn set_memory_limit(bytes: u64) -> io::Result<()> {
    // SAFETY: an all-zero structure is a valid value, and the calls get live pointers of the given size. The job lives
    // as long as this process, so its handle is not closed.
    let done = unsafe {
        let mut limits: JOBOBJECT_EXTENDED_LIMIT_INFORMATION = std::mem::zeroed();
        limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_PROCESS_MEMORY;
        limits.ProcessMemoryLimit = usize::try_from(bytes).unwrap_or(usize::MAX);
        let job = CreateJobObjectW(std::ptr::null(), std::ptr::null());
        let size = u32::try_from(size_of_val(&limits)).unwrap_or(0);
        let limits = (&raw const limits).cast();
        !job.is_null()
            && SetInformationJobObject(job, JobObjectExtendedLimitInformation, limits, size) != 0
            && AssignProcessToJobObject(job, GetCurrentProcess()) != 0
    };
    if done { Ok(()) } else { Err(RefusedOperation::error(Operation::Limit, io::Error::last_os_error())) }
}

/// Windows has no programs with other rights than those of the process that starts them.
pub(crate) fn has_elevated_rights() -> bool {
    false
}

pub(crate) fn acts_for_another_user() -> bool {
    false
}

/// Rust's runtime prepares nothing here.
pub(crate) fn prepare_like_rust_runtime() {}

/// Nothing stops a process here.
pub(crate) fn resume(_: u32) {}

/// Processes are not ended by signals here.
pub(in crate::process::os::portable) fn signal_of(_: ExitStatus) -> Option<i32> {
    None
}

/// No process is ended by it here.
pub(crate) const SIGABRT: i32 = 22;

pub(crate) fn signal_name(_: i32) -> &'static str {
    "a signal"
}

/// Leaves Ctrl-C and Ctrl-Break to the parent, which shares its console with its workers. A crash shows no dialog and
/// starts no debugger: it is an error of the task, which would wait for them.
pub(crate) fn install_noop_signal_handlers() {
    unsafe extern "system" fn handle(event: u32) -> i32 {
        i32::from(event == CTRL_C_EVENT || event == CTRL_BREAK_EVENT)
    }
    // SAFETY: the handler does nothing, so it may run at any time; the mode is a number.
    unsafe {
        SetConsoleCtrlHandler(Some(handle), 1);
        SetErrorMode(SEM_NOGPFAULTERRORBOX);
    }
}

/// What an exit code means, if the system has ended the process.
pub(crate) fn describe_exit_code(code: i32) -> Option<&'static str> {
    Some(match code.cast_unsigned() {
        0x8000_0003 => "breakpoint",
        0xC000_0005 => "access violation",
        0xC000_0006 => "a page could not be read",
        0xC000_0017 => "out of memory",
        0xC000_001D => "illegal instruction",
        0xC000_0094 => "integer division by zero",
        0xC000_00FD => "stack overflow",
        0xC000_012D => "out of memory: the paging file is full",
        0xC000_013A => "Ctrl-C",
        0xC000_0135 | 0xC000_0139 => "a library or one of its functions is missing",
        0xC000_0374 => "heap corruption",
        0xC000_0409 => "aborted: out of memory, a panic that cannot unwind, or a broken stack",
        _ => return None,
    })
}

/// The command that starts this program once more. A program that runs can be renamed here and not be replaced.
pub(in crate::process::os::portable) fn this_program() -> io::Result<Command> {
    std::env::current_exe().map(Command::new)
}

/// Where the program or library that has this address is loaded; `None` if there is none.
pub(crate) fn module_base(address: usize) -> Option<usize> {
    let mut found = MEMORY_BASIC_INFORMATION::default();
    // SAFETY: the call does not read at the address, and `found` is a valid place of the size that is given.
    let len = unsafe { VirtualQuery(std::ptr::without_provenance(address), &raw mut found, size_of_val(&found)) };
    (len > 0 && found.Type == MEM_IMAGE).then(|| found.AllocationBase.addr())
}
