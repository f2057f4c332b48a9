//! The system's part on Windows: pipes, sections of the paging file, and processes.
//!
//! A worker reads from its standard input. Its parent duplicates the other handles into it, and out of it: a worker
//! names a handle of its own, and its parent takes a duplicate. So no handle is inherited but the standard ones, and
//! nothing has a name that another program could open.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, IntoRawHandle, OwnedHandle};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::ptr::NonNull;
use std::sync::Arc;

use windows_sys::Win32::Foundation::{
    DUPLICATE_SAME_ACCESS, DuplicateHandle, HANDLE, HANDLE_FLAG_INHERIT, INVALID_HANDLE_VALUE, SetHandleInformation,
    WAIT_TIMEOUT,
};
use windows_sys::Win32::Storage::FileSystem::{FILE_TYPE_PIPE, GetFileType};
use windows_sys::Win32::System::Console::{
    CTRL_BREAK_EVENT, CTRL_C_EVENT, GetStdHandle, STD_INPUT_HANDLE, SetConsoleCtrlHandler, SetStdHandle,
};
use windows_sys::Win32::System::Diagnostics::Debug::{SEM_NOGPFAULTERRORBOX, SetErrorMode};
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_PROCESS_MEMORY, JOBOBJECT_EXTENDED_LIMIT_INFORMATION,
    JobObjectExtendedLimitInformation, SetInformationJobObject,
};
use windows_sys::Win32::System::Memory::{
    CreateFileMappingW, FILE_MAP_READ, FILE_MAP_WRITE, MEM_COMMIT, MEM_IMAGE, MEMORY_BASIC_INFORMATION,
    MEMORY_MAPPED_VIEW_ADDRESS, MapViewOfFile, PAGE_READWRITE, UnmapViewOfFile, VirtualQuery,
};
use windows_sys::Win32::System::Threading::{
    GetCurrentProcess, GetCurrentThreadStackLimits, OpenProcess, PROCESS_SYNCHRONIZE, WaitForSingleObject,
};

use super::link::{Frame, invalid};
use super::memory::MemoryHandle;
use crate::process::os::refusal::{Operation, RefusedOperation};

pub(crate) type RawMemory = OwnedHandle;

/// A worker keeps what it sends until its parent has a duplicate.
pub(super) const NEEDS_RECEIPT: bool = true;

/// One side of a connection: a pipe in each direction.
pub(super) struct Duplex {
    reader: File,
    writer: File,
    /// What the parent knows of the worker; `None` on the worker's side.
    worker: Option<Peer>,
}

/// The worker, as its parent sees it.
struct Peer {
    /// The end of the pipe that the worker writes to, until the worker has it.
    writer: Option<OwnedHandle>,
    process: Process,
}

/// A process that handles are duplicated into and out of; `None` is this one.
#[derive(Clone, Default)]
struct Process(Option<Arc<OwnedHandle>>);

pub(super) struct Reader {
    pipe: File,
    worker: Option<Process>,
}

pub(super) struct Writer {
    pipe: File,
    worker: Option<Process>,
}

/// A pipe is closed with its handle, which the thread that uses it drops.
pub(super) struct Closer;

impl Process {
    fn handle(&self) -> HANDLE {
        match &self.0 {
            Some(process) => process.as_raw_handle(),
            // SAFETY: the call has no preconditions.
            None => unsafe { GetCurrentProcess() },
        }
    }

    /// Duplicates a handle of this process into the other one; returns its value there.
    fn give(&self, handle: &OwnedHandle) -> io::Result<HANDLE> {
        // SAFETY: the call has no preconditions.
        duplicate(unsafe { GetCurrentProcess() }, handle.as_raw_handle(), self.handle())
    }

    /// Duplicates a handle of the other process into this one.
    fn take(&self, value: u64) -> io::Result<OwnedHandle> {
        // SAFETY: the call has no preconditions.
        let own = duplicate(self.handle(), handle_of(value), unsafe { GetCurrentProcess() })?;
        // SAFETY: `duplicate` succeeded, so this is a new handle that nothing else owns.
        Ok(unsafe { OwnedHandle::from_raw_handle(own) })
    }
}

fn duplicate(from: HANDLE, handle: HANDLE, to: HANDLE) -> io::Result<HANDLE> {
    let mut duplicated = std::ptr::null_mut();
    // SAFETY: both processes are open, and `duplicated` is a valid place for the answer. A value that is no handle of
    // `from` is an error.
    let done = unsafe { DuplicateHandle(from, handle, to, &raw mut duplicated, 0, 0, DUPLICATE_SAME_ACCESS) };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(duplicated) }
}

fn value_of(handle: HANDLE) -> u64 {
    handle.addr() as u64
}

fn handle_of(value: u64) -> HANDLE {
    std::ptr::without_provenance_mut(usize::try_from(value).unwrap_or(0))
}

impl Duplex {
    pub(super) fn pair() -> io::Result<(Self, Self)> {
        let (workers_reader, writer) = io::pipe()?;
        let (reader, workers_writer) = io::pipe()?;
        let file = |handle: OwnedHandle| File::from(handle);
        let given = OwnedHandle::from(workers_writer.try_clone()?);
        let worker = Some(Peer { writer: Some(given), process: Process::default() });
        Ok((
            Self { reader: file(reader.into()), writer: file(writer.into()), worker },
            Self { reader: file(workers_reader.into()), writer: file(workers_writer.into()), worker: None },
        ))
    }

    #[allow(clippy::unnecessary_wraps, reason = "not on every system")]
    pub(super) fn split(self) -> io::Result<(Reader, Writer, Closer)> {
        let worker = self.worker.map(|worker| worker.process);
        let reader = Reader { pipe: self.reader, worker: worker.clone() };
        Ok((reader, Writer { pipe: self.writer, worker }, Closer))
    }

    /// Makes this side the standard input of a process that `command` starts.
    pub(super) fn give_to(self, command: &mut Command) {
        command.stdin(Stdio::from(self.reader));
    }

    /// Gives the worker, which runs by now, the end of the pipe that it writes to.
    pub(super) fn attach(&mut self, child: &Child) -> io::Result<()> {
        let Some(worker) = &mut self.worker else { return Ok(()) };
        worker.process = Process(Some(Arc::new(child.as_handle().try_clone_to_owned()?)));
        if let Some(writer) = worker.writer.take() {
            let value = worker.process.give(&writer)?;
            // The pipe is empty, so this does not wait.
            self.writer.write_all(&value_of(value).to_ne_bytes())?;
        }
        Ok(())
    }
}

impl Reader {
    pub(super) fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.pipe.read(bytes)
    }

    /// The memory of the next handle of a frame, if it could be opened.
    pub(super) fn take_memory(&mut self, word: u64, len: usize) -> Option<MemoryHandle> {
        let raw = match &self.worker {
            Some(worker) => worker.take(word).ok()?,
            // SAFETY: the parent, which a worker trusts, has duplicated this handle into this process, for this frame
            // alone.
            None => unsafe { OwnedHandle::from_raw_handle(handle_of(word)) },
        };
        Some(MemoryHandle::new(raw, len))
    }

    /// All handles of a frame were taken.
    #[allow(clippy::unused_self, reason = "not on every system")]
    pub(super) fn end_frame(&mut self) {}
}

impl Writer {
    /// Writes a frame, with its memory.
    pub(super) fn write(&mut self, mut frame: Frame) -> io::Result<()> {
        for (offset, memory) in &frame.memory {
            let word = match &self.worker {
                Some(worker) => value_of(worker.give(memory.raw())?),
                None => memory.word(),
            };
            let place = frame.bytes.get_mut(*offset..*offset + 8).ok_or_else(invalid)?;
            place.copy_from_slice(&word.to_ne_bytes());
        }
        self.pipe.write_all(&frame.bytes)
    }
}

impl Closer {
    #[allow(clippy::unused_self, reason = "not on every system")]
    pub(super) fn close(&self) {}
}

impl MemoryHandle {
    /// The number by which the other side names the memory in a receipt.
    pub(super) fn word(&self) -> u64 {
        value_of(self.raw().as_raw_handle())
    }
}

/// Whether the reader thread ended because this process has closed its end of the connection.
pub(super) fn is_closed_here(_: &io::Error) -> bool {
    false
}

/// Creates a section of the paging file without a name.
pub(super) fn new_memory(len: usize) -> io::Result<RawMemory> {
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
pub(super) fn allocate(_: &RawMemory, _: usize) -> io::Result<()> {
    Ok(())
}

/// Memory that is shorter than was said cannot be mapped.
#[allow(clippy::unnecessary_wraps, reason = "not on every system")]
pub(super) fn check_memory(_: &RawMemory, _: usize, _: usize) -> io::Result<()> {
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
    pub(super) fn new(memory: &RawMemory, len: usize) -> io::Result<Self> {
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

    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for RawMapping {
    fn drop(&mut self) {
        // SAFETY: `new` made the view, and nothing uses it after this.
        unsafe { UnmapViewOfFile(MEMORY_MAPPED_VIEW_ADDRESS { Value: self.start.as_ptr().cast() }) };
    }
}

/// Takes the connection that is standard input, and replaces it by an empty input for the user's code.
pub(super) fn take_stdin() -> io::Result<Duplex> {
    let empty = File::open("NUL").map_err(|error| RefusedOperation::error(Operation::Duplicate, error))?;
    // SAFETY: `check_parent` found that standard input is a pipe, and no other code has used it yet: this process runs
    // no user code before. Programs that tasks start do not inherit it.
    let mut reader = unsafe {
        let stdin = GetStdHandle(STD_INPUT_HANDLE);
        SetHandleInformation(stdin, HANDLE_FLAG_INHERIT, 0);
        SetStdHandle(STD_INPUT_HANDLE, empty.into_raw_handle());
        File::from_raw_handle(stdin)
    };
    let mut value = [0; 8];
    reader.read_exact(&mut value)?;
    // SAFETY: the parent, which a worker trusts, has duplicated this handle into this process.
    let writer = unsafe { File::from_raw_handle(handle_of(u64::from_ne_bytes(value))) };
    Ok(Duplex { reader, writer, worker: None })
}

/// Whether standard input may be a connection to a parent.
pub(super) fn stdin_is_connection() -> bool {
    // SAFETY: the calls take a number and a handle, which may be invalid.
    unsafe { GetFileType(GetStdHandle(STD_INPUT_HANDLE)) == FILE_TYPE_PIPE }
}

/// Whether the process that says it is the parent of this one runs.
pub(crate) fn is_parent(process: u32) -> bool {
    is_running(process)
}

/// Whether a process runs.
pub(super) fn is_running(process: u32) -> bool {
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
pub(super) fn signal_of(_: ExitStatus) -> Option<i32> {
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
pub(super) fn this_program() -> io::Result<Command> {
    std::env::current_exe().map(Command::new)
}

/// Where the program or library that has this address is loaded; `None` if there is none.
pub(crate) fn module_base(address: usize) -> Option<usize> {
    let mut found = MEMORY_BASIC_INFORMATION::default();
    // SAFETY: the call does not read at the address, and `found` is a valid place of the size that is given.
    let len = unsafe { VirtualQuery(std::ptr::without_provenance(address), &raw mut found, size_of_val(&found)) };
    (len > 0 && found.Type == MEM_IMAGE).then(|| found.AllocationBase.addr())
}

/// The lowest address of this thread's stack, and the address above it.
pub(super) fn stack() -> (usize, usize) {
    let (mut start, mut end) = (0, 0);
    // SAFETY: both are valid places for the answers.
    unsafe { GetCurrentThreadStackLimits(&raw mut start, &raw mut end) };
    (start, end)
}
