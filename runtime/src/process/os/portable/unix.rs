//! The system's part on Unix: Unix sockets that carry file descriptors, POSIX shared memory, and processes.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use memmap2::{MmapOptions, MmapRaw};
use rustix::cmsg_space;
use rustix::fs::Mode;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, Shutdown, recvmsg, sendmsg,
};
use rustix::shm;

use super::MAX_FDS_PER_MESSAGE;
use super::link::{Frame, invalid};
use super::memory::MemoryHandle;
use crate::process::os::refusal::{Operation, RefusedOperation};

pub(crate) type RawMemory = OwnedFd;

/// The socket takes a copy of each descriptor that is sent.
pub(super) const NEEDS_RECEIPT: bool = false;

/// One side of a connection.
pub(super) struct Duplex(pub(super) UnixStream);

pub(super) struct Reader {
    socket: Arc<UnixStream>,
    descriptors: VecDeque<OwnedFd>,
    /// Whether descriptors of the next frame are lost, because this process may open no more.
    is_short: bool,
}

pub(super) struct Writer(Arc<UnixStream>);

pub(super) struct Closer(Arc<UnixStream>);

impl Duplex {
    pub(super) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = UnixStream::pair()?;
        #[cfg(target_vendor = "apple")]
        for socket in [&one, &other] {
            rustix::net::sockopt::set_socket_nosigpipe(socket, true)?;
        }
        Ok((Self(one), Self(other)))
    }

    #[allow(clippy::unnecessary_wraps, reason = "not on every system")]
    pub(super) fn split(self) -> io::Result<(Reader, Writer, Closer)> {
        let socket = Arc::new(self.0);
        let reader = Reader { socket: Arc::clone(&socket), descriptors: VecDeque::new(), is_short: false };
        Ok((reader, Writer(Arc::clone(&socket)), Closer(socket)))
    }

    /// Makes this side the standard input of a process that `command` starts.
    pub(super) fn give_to(self, command: &mut Command) {
        command.stdin(Stdio::from(OwnedFd::from(self.0)));
    }

    /// Tells the other side, which runs in this process by now, how to reach this one.
    #[allow(clippy::unnecessary_wraps, clippy::unused_self, reason = "not on every system")]
    pub(super) fn attach(&mut self, _: &std::process::Child) -> io::Result<()> {
        Ok(())
    }
}

impl Reader {
    /// Reads bytes, and keeps the descriptors that come with them.
    pub(super) fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_FDS_PER_MESSAGE))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        #[cfg(not(target_vendor = "apple"))]
        let flags = RecvFlags::CMSG_CLOEXEC;
        #[cfg(target_vendor = "apple")]
        let flags = RecvFlags::empty();
        let parts = &mut [IoSliceMut::new(bytes)];
        let message = loop {
            match recvmsg(&*self.socket, parts, &mut control, flags) {
                // The worker's end of the socket looks again every second: a read in progress keeps it open after a
                // task has closed it.
                Err(Errno::INTR | Errno::AGAIN) => {}
                message => break message?,
            }
        };
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = part {
                for descriptor in received {
                    #[cfg(target_vendor = "apple")]
                    let _ = rustix::io::fcntl_setfd(&descriptor, rustix::io::FdFlags::CLOEXEC);
                    self.descriptors.push_back(descriptor);
                }
            }
        }
        if message.flags.contains(ReturnFlags::CTRUNC) {
            self.is_short = true;
            self.descriptors.clear();
        }
        // A frame has no more, and those of the frame before were taken.
        if self.descriptors.len() > MAX_FDS_PER_MESSAGE {
            return Err(invalid());
        }
        Ok(message.bytes)
    }

    /// The memory of the next handle of a frame, if it could be opened.
    pub(super) fn take_memory(&mut self, _: u64, len: usize) -> Option<MemoryHandle> {
        let raw = self.descriptors.pop_front().filter(|_| !self.is_short)?;
        Some(MemoryHandle::new(raw, len))
    }

    /// All handles of a frame were taken.
    pub(super) fn end_frame(&mut self) {
        self.is_short = false;
    }
}

impl Writer {
    /// Writes a frame, with its memory.
    #[allow(clippy::needless_pass_by_value, reason = "its handles are closed once they are sent")]
    pub(super) fn write(&mut self, frame: Frame) -> io::Result<()> {
        let descriptors: Vec<_> = frame.memory.iter().map(|(_, memory)| memory.raw().as_fd()).collect();
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_FDS_PER_MESSAGE))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&descriptors));
        }
        // macOS has an option of the socket instead, which `pair` sets.
        #[cfg(not(target_vendor = "apple"))]
        let flags = SendFlags::NOSIGNAL;
        #[cfg(target_vendor = "apple")]
        let flags = SendFlags::empty();
        let mut sent = 0;
        while sent < frame.bytes.len() {
            let parts = [IoSlice::new(&frame.bytes[sent..])];
            sent += retry_on_intr(|| sendmsg(&*self.0, &parts, &mut control, flags))?;
            control.clear();
        }
        Ok(())
    }
}

impl Closer {
    pub(super) fn close(&self) {
        // It fails for a socket whose other end is closed, which needs no more.
        let _ = rustix::net::shutdown(&*self.0, Shutdown::Both);
    }
}

impl MemoryHandle {
    /// The number by which the other side names the memory in a receipt.
    #[allow(clippy::unused_self, reason = "not on every system")]
    pub(super) fn word(&self) -> u64 {
        0
    }
}

/// Whether the reader thread ended because this process has closed its end of the connection.
pub(super) fn is_closed_here(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EBADF)
}

/// Creates POSIX shared memory, whose name is removed at once.
pub(super) fn new_memory(len: usize) -> io::Result<RawMemory> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    // macOS allows names of 31 bytes.
    let flags = shm::OFlags::CREATE | shm::OFlags::EXCL | shm::OFlags::RDWR;
    let fd = loop {
        let name = format!("/fanfold-shm-{:x}-{:x}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        match shm::open(&*name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(fd) => {
                // It fails if a process with the same id, in another container, has just removed the name.
                let _ = shm::unlink(&*name);
                break fd;
            }
            // A process with this id has ended just here.
            Err(Errno::EXIST) => _ = shm::unlink(&*name),
            Err(error) => return Err(error.into()),
        }
    };
    rustix::fs::ftruncate(&fd, len as u64)?;
    Ok(fd)
}

/// Has the system provide all pages of new memory.
#[cfg(target_os = "linux")]
pub(super) fn allocate(memory: &RawMemory, len: usize) -> io::Result<()> {
    let flags = rustix::fs::FallocateFlags::empty();
    Ok(retry_on_intr(|| rustix::fs::fallocate(memory, flags, 0, len as u64))?)
}

#[cfg(not(target_os = "linux"))]
#[allow(clippy::unnecessary_wraps, reason = "not on every system")]
pub(super) fn allocate(_: &RawMemory, _: usize) -> io::Result<()> {
    Ok(())
}

/// Checks that memory which another process sent has `len` bytes. On Linux at most `unwritten` of them were never
/// written, so that the sender has paid for its size.
pub(super) fn check_memory(memory: &RawMemory, len: usize, unwritten: usize) -> io::Result<()> {
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
    pub(super) fn new(memory: &RawMemory, len: usize) -> io::Result<Self> {
        MmapOptions::new().len(len).map_raw(memory.as_raw_fd()).map(Self)
    }

    pub(super) fn start(&self) -> NonNull<u8> {
        NonNull::new(self.0.as_mut_ptr()).expect("no mapping starts at address 0")
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Takes the connection that is standard input, and replaces it by an empty input for the user's code.
pub(super) fn take_stdin() -> io::Result<Duplex> {
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)
        .map_err(|error| RefusedOperation::error(Operation::Duplicate, error.into()))?;
    let empty = std::fs::File::open("/dev/null").map(OwnedFd::from).or_else(|_| io::pipe().map(|(end, _)| end.into()));
    rustix::stdio::dup2_stdin(empty?)?;
    let socket = UnixStream::from(socket);
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    Ok(Duplex(socket))
}

/// Whether standard input may be a connection to a parent.
pub(super) fn stdin_is_connection() -> bool {
    rustix::net::getsockname(rustix::stdio::stdin())
        .is_ok_and(|name| name.address_family() == rustix::net::AddressFamily::UNIX)
}

/// Whether this process is the parent of the calling one.
pub(crate) fn is_parent(process: u32) -> bool {
    std::os::unix::process::parent_id() == process
}

/// Limits the private memory of this process. Allocations beyond the limit fail.
pub(crate) fn set_memory_limit(bytes: u64) -> io::Result<()> {
    use rustix::process::{Resource, Rlimit};
    if cfg!(target_vendor = "apple") {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "macOS has no memory limit for a process: leave out `memory_limit` on this system",
        ));
    }
    let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
    rustix::process::setrlimit(Resource::Data, limit)
        .map_err(|error| RefusedOperation::error(Operation::Limit, error.into()))
}

/// Whether this process has more rights than the one that started it.
pub(crate) fn has_elevated_rights() -> bool {
    #[cfg(target_os = "linux")]
    // SAFETY: the call reads the auxiliary vector, which the kernel wrote before the program started.
    let elevated = unsafe { libc::getauxval(libc::AT_SECURE) != 0 };
    #[cfg(target_vendor = "apple")]
    // SAFETY: the call has no preconditions.
    let elevated = unsafe { libc::issetugid() != 0 };
    #[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
    let elevated = acts_for_another_user();
    elevated
}

/// Whether the effective user or group of this process differs from the real one. Its workers would inherit both.
pub(crate) fn acts_for_another_user() -> bool {
    use rustix::process::{getegid, geteuid, getgid, getuid};
    getuid() != geteuid() || getgid() != getegid()
}

/// Prepares the process as Rust's runtime does before `main`: opens closed standard streams, and makes a write to a
/// closed pipe an error instead of a signal that ends the process.
pub(crate) fn prepare_like_rust_runtime() {
    // SAFETY: `fcntl`, `open` and `signal` take numbers and a static C string. A standard stream is opened only if it
    // is closed, so no descriptor in use changes.
    unsafe {
        for stream in 0..3 {
            // `open` returns the lowest free number. The lower streams are open, so it is this one.
            if libc::fcntl(stream, libc::F_GETFD) < 0 {
                libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
            }
        }
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
    }
}

/// Whether a process exists. One that has ended and was not waited for exists.
pub(crate) fn is_running(process: u32) -> bool {
    // SAFETY: signal 0 is never sent; the call only checks whether it could be.
    let answer = unsafe { libc::kill(process.cast_signed(), 0) };
    answer == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

/// Continues a process that a signal has stopped.
pub(crate) fn resume(process: u32) {
    // SAFETY: the call takes numbers.
    unsafe { libc::kill(process.cast_signed(), libc::SIGCONT) };
}

/// The signal that ended a process.
pub(super) fn signal_of(status: std::process::ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

/// What an exit code means.
pub(crate) fn describe_exit_code(_: i32) -> Option<&'static str> {
    None
}

/// The command that starts this program once more.
pub(super) fn this_program() -> io::Result<Command> {
    use std::os::unix::process::CommandExt;
    // On Linux this link leads to the file that the process was started from, even if its path names another file by
    // now. Elsewhere the handshake notices another file.
    let program = if cfg!(target_os = "linux") { "/proc/self/exe".into() } else { std::env::current_exe()? };
    let mut command = Command::new(program);
    if let Some(name) = std::env::args_os().next() {
        command.arg0(name);
    }
    Ok(command)
}

/// The lowest address of this thread's stack, and the address above it; both 0 if the system does not know.
#[cfg(target_os = "linux")]
pub(super) fn stack() -> (usize, usize) {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let (mut start, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: `attributes` is read and destroyed only after `pthread_getattr_np` has initialized it, and `start` and
    // `size` are valid places for the answers.
    unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return (0, 0);
        }
        libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut start, &raw mut size);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
    }
    (start.addr(), start.addr().saturating_add(size))
}

#[cfg(target_vendor = "apple")]
pub(super) fn stack() -> (usize, usize) {
    // SAFETY: both calls read what the C library knows of this thread, which runs.
    let (end, size) = unsafe {
        (
            libc::pthread_get_stackaddr_np(libc::pthread_self()).addr(),
            libc::pthread_get_stacksize_np(libc::pthread_self()),
        )
    };
    (end.saturating_sub(size), end)
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
pub(super) fn stack() -> (usize, usize) {
    (0, 0)
}
