//! The system's part on Windows: pipes, sections of the paging file, and processes.
//!
//! A worker reads from its standard input. Its parent duplicates the other handles into it, and out of it: a worker
//! names a handle of its own, and its parent takes a duplicate. So no handle is inherited but the standard ones, and
//! nothing has a name that another program could open.

mod memory;
mod process;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, IntoRawHandle, OwnedHandle};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use windows_sys::Win32::Foundation::{
    DUPLICATE_SAME_ACCESS, DuplicateHandle, HANDLE, HANDLE_FLAG_INHERIT, SetHandleInformation,
};
use windows_sys::Win32::Storage::FileSystem::{FILE_TYPE_PIPE, GetFileType};
use windows_sys::Win32::System::Console::{GetStdHandle, STD_INPUT_HANDLE, SetStdHandle};
use windows_sys::Win32::System::Threading::GetCurrentProcess;

use super::frame::{Frame, invalid};
use super::memory::MemoryHandle;
use crate::process::os::refusal::{Operation, RefusedOperation};

pub(super) use memory::*;
pub(crate) use process::*;

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

#[derive(Clone)]
pub(super) struct Writer {
    pipe: Arc<File>,
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
        Ok((reader, Writer { pipe: Arc::new(self.writer), worker }, Closer))
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
        (&*self.pipe).write_all(&frame.bytes)
    }

    /// A write to a pipe may wait, so another thread writes all.
    #[allow(clippy::unnecessary_wraps, clippy::unused_self, reason = "not on every system")]
    pub(super) fn write_some(&mut self, _: &mut Frame) -> io::Result<bool> {
        Ok(false)
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
