//! The operating system's part, Linux': memory that two processes share, descriptors sent over a socket, sleeping on
//! a word of shared memory. All system calls of the process pool stand here, but those for child processes, which are
//! in `pidfd.rs`.

use std::cell::{Cell, UnsafeCell};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Error, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub(crate) use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
pub(crate) use std::os::unix::net::UnixStream;

use super::refusal::{Operation, RefusedOperation};
use crate::process::os::foreign_fd::ForeignFd;
use crate::sys::owner::end_now;

/// Why there can be no worker processes on this system.
pub(crate) const UNSUPPORTED_REASON: Option<&str> = None;

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

/// The size of memory that [`create_memory`] or [`create_sealed_memory`] made, perhaps in another process. Touching it never faults: it
/// has at least these seals, of which none can be taken off, is no file of another kind, and, if it may be longer than
/// what was written to it only by so many bytes, is not.
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

/// Descriptors that go with one message at most.
pub(crate) const MAX_FDS_PER_MESSAGE: usize = 16;

/// Descriptors that the system lets another process send with one message (`SCM_MAX_FD`). All of them are received: the
/// system would close the others in `recvmsg`, and closing may block (see `foreign.rs`).
const MAX_FDS_RECEIVED: usize = 253;

/// Bytes of the numbers of so many descriptors.
#[allow(clippy::cast_possible_truncation, reason = "it is a small constant")]
const DESCRIPTORS_SIZE: libc::c_uint = (MAX_FDS_RECEIVED * size_of::<RawFd>()) as libc::c_uint;

/// Bytes of a buffer for them.
// SAFETY: only arithmetic.
const CONTROL_SIZE: usize = unsafe { libc::CMSG_SPACE(DESCRIPTORS_SIZE) } as usize;

/// A buffer for descriptors, aligned as the system wants it.
#[repr(C)]
union Control {
    bytes: [u8; CONTROL_SIZE],
    _align: libc::cmsghdr,
}

/// Sends bytes, and descriptors with them: [`MAX_FDS_PER_MESSAGE`] at most.
pub(crate) fn send_bytes(
    socket: &BorrowedFd<'_>,
    parts: &[&[u8]],
    descriptors: &[BorrowedFd<'_>],
    wait: bool,
) -> io::Result<()> {
    let mut parts: Vec<libc::iovec> = parts
        .iter()
        .map(|part| libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() })
        .collect();
    let mut control = Control { bytes: [0; CONTROL_SIZE] };
    // SAFETY: a message header may be all zeros.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = parts.as_mut_ptr();
    message.msg_iovlen = parts.len() as _;
    if !descriptors.is_empty() {
        assert!(descriptors.len() <= MAX_FDS_PER_MESSAGE, "more descriptors than one message holds");
        let numbers: Vec<u8> = descriptors.iter().flat_map(|descriptor| descriptor.as_raw_fd().to_ne_bytes()).collect();
        #[allow(clippy::cast_possible_truncation, reason = "it was checked just now")]
        let size = numbers.len() as libc::c_uint;
        message.msg_control = (&raw mut control).cast();
        // SAFETY: only arithmetic.
        message.msg_controllen = unsafe { libc::CMSG_SPACE(size) } as _;
        // SAFETY: the control buffer is large enough for one header and that many descriptors.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(size) as _;
            std::ptr::copy_nonoverlapping(numbers.as_ptr(), libc::CMSG_DATA(header), numbers.len());
        }
    }
    let flags = libc::MSG_NOSIGNAL | if wait { 0 } else { libc::MSG_DONTWAIT };
    loop {
        // SAFETY: the message points to what is alive here.
        let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) };
        if sent >= 0 {
            return Ok(());
        }
        let error = Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Sends one byte, and descriptors with it: [`MAX_FDS_PER_MESSAGE`] at most.
pub(crate) fn send(socket: &UnixStream, byte: u8, descriptors: &[BorrowedFd<'_>], wait: bool) -> io::Result<()> {
    send_bytes(&socket.as_fd(), &[&[byte]], descriptors, wait)
}

/// Receives bytes, and the descriptors that come with them; 0 when the other side has closed.
///
/// # Errors
///
/// If not all descriptors of the message could be received: there were more than [`MAX_FDS_PER_MESSAGE`], or this process
/// may open no more. None of them is kept then.
pub(crate) fn receive(
    socket: &BorrowedFd<'_>,
    bytes: &mut [u8],
    descriptors: &mut VecDeque<ForeignFd>,
    wait: bool,
) -> io::Result<usize> {
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut control = Control { bytes: [0; CONTROL_SIZE] };
    // SAFETY: a message header may be all zeros.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = CONTROL_SIZE as _;
    let flags = libc::MSG_CMSG_CLOEXEC | if wait { 0 } else { libc::MSG_DONTWAIT };
    let received = loop {
        // SAFETY: the message points to what is alive here.
        let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
        match usize::try_from(received) {
            Ok(received) => break received,
            Err(_) => {
                let error = Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    };
    let before = descriptors.len();
    // SAFETY: the system has filled the message in.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    // SAFETY: null at the end, else a header within the control buffer.
    while let Some(found) = unsafe { header.as_ref() } {
        if found.cmsg_level == libc::SOL_SOCKET && found.cmsg_type == libc::SCM_RIGHTS {
            // SAFETY: only arithmetic.
            let length = found.cmsg_len - unsafe { libc::CMSG_LEN(0) } as usize;
            for index in 0..length / size_of::<RawFd>() {
                // SAFETY: within what the header says that it holds; each is new, and ours alone.
                let descriptor = unsafe {
                    let mut fd = [0; size_of::<RawFd>()];
                    let place = libc::CMSG_DATA(header).add(index * fd.len());
                    std::ptr::copy_nonoverlapping(place, fd.as_mut_ptr(), fd.len());
                    OwnedFd::from_raw_fd(RawFd::from_ne_bytes(fd))
                };
                descriptors.push_back(ForeignFd::new(descriptor));
            }
        }
        // SAFETY: as above.
        header = unsafe { libc::CMSG_NXTHDR(&raw const message, header) };
    }
    let came = descriptors.len() - before;
    if came > MAX_FDS_PER_MESSAGE || message.msg_flags & libc::MSG_CTRUNC != 0 {
        descriptors.truncate(before);
        return Err(Error::other(if came >= MAX_FDS_PER_MESSAGE {
            "a message came with more open files than it may have"
        } else {
            "a message came without its open files, as this process may open no more: close others, or raise its limit \
             (RLIMIT_NOFILE, `ulimit -n`)"
        }));
    }
    Ok(received)
}

/// Whether a file is memory, of whatever kind, so that closing it never waits.
pub(crate) fn is_memory(fd: &OwnedFd) -> bool {
    // Nothing else knows seals.
    // SAFETY: an open descriptor.
    unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) >= 0 }
}

/// Whether a file is a socket as [`channel_pair`] makes them.
pub(crate) fn is_channel_socket(fd: &OwnedFd) -> bool {
    let option = |name| {
        let mut value: libc::c_int = 0;
        #[allow(clippy::cast_possible_truncation, reason = "one number")]
        let mut len = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: an open descriptor, and room for the answer, of the length that is said.
        let found =
            unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, name, (&raw mut value).cast(), &raw mut len) };
        (found == 0).then_some(value)
    };
    option(libc::SO_DOMAIN) == Some(libc::AF_UNIX) && option(libc::SO_TYPE) == Some(libc::SOCK_SEQPACKET)
}

/// Has the last `close` of a file not wait for the peer, if it is a socket.
pub(crate) fn disable_linger(fd: &OwnedFd) {
    let off = libc::linger { l_onoff: 0, l_linger: 0 };
    #[allow(clippy::cast_possible_truncation, reason = "two numbers")]
    let len = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: an open descriptor, and a value of the length that is said.
    unsafe { libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const off).cast(), len) };
}

/// Whether a message waits in a socket, with or without bytes.
pub(crate) fn has_unread_message(socket: &BorrowedFd<'_>) -> bool {
    let in_line: libc::c_int = 1;
    #[allow(clippy::cast_possible_truncation, reason = "one number")]
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    let mut byte = 0_u8;
    let mut part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // SAFETY: a message header may be all zeros; the option and the header point to what is alive here. Nothing is taken
    // out of the socket, and descriptors are not received for want of a buffer.
    unsafe {
        // Else a message that is out of band is not seen.
        let option = (&raw const in_line).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_OOBINLINE, option, len);
        let mut message: libc::msghdr = std::mem::zeroed();
        (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
        let seen = libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_PEEK | libc::MSG_DONTWAIT);
        seen > 0 || (seen == 0 && message.msg_flags & libc::MSG_CTRUNC != 0)
    }
}

/// A pair of sockets that keep messages apart.
pub(crate) fn channel_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut pair = [0; 2];
    // SAFETY: room for two descriptors.
    check(unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC, 0, pair.as_mut_ptr()) })
        .map_err(|error| RefusedOperation::error(Operation::Sockets, error))?;
    // SAFETY: new, and nobody else's.
    Ok(unsafe { (OwnedFd::from_raw_fd(pair[0]), OwnedFd::from_raw_fd(pair[1])) })
}

/// Waits until a socket can be read from, or written to; `false` if the deadline comes first.
pub(crate) fn wait_for_socket(socket: &BorrowedFd<'_>, write: bool, deadline: Option<Instant>) -> io::Result<bool> {
    let events = if write { libc::POLLOUT } else { libc::POLLIN };
    let mut entry = libc::pollfd { fd: socket.as_raw_fd(), events, revents: 0 };
    loop {
        let timeout = deadline.map(|deadline| timespec(deadline.saturating_duration_since(Instant::now())));
        let limit = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: one entry, a time or none, and no signal mask.
        let ready = unsafe { libc::ppoll(&raw mut entry, 1, limit, std::ptr::null()) };
        if ready >= 0 {
            return Ok(ready > 0);
        }
        let error = Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Sockets that are waited for together (`epoll`), each until it is ready once.
pub(crate) struct Poller(OwnedFd);

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no arguments but a flag.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: new, and nobody else's.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Waits for a socket too, until it can be read from, or written to, or is closed.
    pub(crate) fn add(&self, socket: &OwnedFd, write: bool, key: u64) -> io::Result<()> {
        let what = if write { libc::EPOLLOUT } else { libc::EPOLLIN };
        let mut event = libc::epoll_event { events: (what | libc::EPOLLONESHOT).cast_unsigned(), u64: key };
        // SAFETY: two open descriptors, and an event that is read.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &raw mut event) })?;
        Ok(())
    }

    pub(crate) fn remove(&self, socket: &OwnedFd) {
        let no_event = std::ptr::null_mut();
        // SAFETY: two open descriptors; this operation reads no event.
        unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_DEL, socket.as_raw_fd(), no_event) };
    }

    /// The keys of some that are ready, once there are any.
    pub(crate) fn wait(&self) -> io::Result<Vec<u64>> {
        const MOST: usize = 64;
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; MOST];
        #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "it is small")]
        // SAFETY: an open descriptor, and room for that many events.
        let ready = unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), MOST as libc::c_int, -1) };
        match usize::try_from(ready) {
            Ok(ready) => Ok(events.iter().take(ready).map(|event| event.u64).collect()),
            Err(_) => match Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => Ok(Vec::new()),
                error => Err(error),
            },
        }
    }
}

/// What a wait on a worker has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitResult {
    /// There are bytes on the socket, or it is closed.
    SocketReady,
    /// The process has ended.
    ProcessExited,
    /// Time is up.
    TimedOut,
}

/// Waits for bytes on a socket, the end of a process, or the deadline.
pub(crate) fn wait_for_socket_or_exit(
    socket: &UnixStream,
    process: Option<&OwnedFd>,
    deadline: Option<Instant>,
) -> io::Result<WaitResult> {
    let entry = |fd: RawFd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // A negative descriptor is passed over.
    let mut entries = [entry(socket.as_raw_fd()), entry(process.map_or(-1, AsRawFd::as_raw_fd))];
    loop {
        let timeout = deadline.map(|deadline| timespec(deadline.saturating_duration_since(Instant::now())));
        let limit = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: two entries, a time or none, and no signal mask.
        let ready = unsafe { libc::ppoll(entries.as_mut_ptr(), 2, limit, std::ptr::null()) };
        match ready {
            0 => return Ok(WaitResult::TimedOut),
            1.. if entries[0].revents & libc::POLLIN != 0 => return Ok(WaitResult::SocketReady),
            1.. if entries[1].revents != 0 => return Ok(WaitResult::ProcessExited),
            1.. => return Ok(WaitResult::SocketReady),
            _ => {
                let error = Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

/// Ends this process when the other side has closed the socket, of which it reads nothing, or when the calling thread has
/// ended.
pub(crate) fn exit_with_parent_or_this_thread(socket: &UnixStream) -> io::Result<()> {
    /// A closed socket lives as long as somebody waits for it: the wait begins anew so often, in milliseconds. As often
    /// the thread is looked after.
    const PERIOD: libc::c_int = 1_000;
    let socket = socket.as_raw_fd();
    let this_thread = ThreadExitMutex::of_this_thread();
    let watching = std::thread::Builder::new().name("fanfold-parent".into()).stack_size(1 << 16).spawn(move || {
        loop {
            let mut entry = libc::pollfd { fd: socket, events: libc::POLLRDHUP, revents: 0 };
            // SAFETY: one entry.
            match unsafe { libc::poll(&raw mut entry, 1, PERIOD) } {
                0 => {}
                // Closed on this side, by a task, is for the parent to see.
                1.. if entry.revents & libc::POLLNVAL != 0 => return,
                1.. => end_now(),
                // A signal; or a task that has forbidden itself all files, which makes `poll` fail each time.
                _ => std::thread::sleep(Duration::from_millis(PERIOD.unsigned_abs().into())),
            }
            if this_thread.is_some_and(ThreadExitMutex::owner_has_exited) {
                // The standard library's lock of standard error may be the thread's.
                let message =
                    b"a fanfold worker process ends: a task has ended its main thread (`pthread_exit`, or the \
                                system call `exit`); return from the task instead\n";
                // SAFETY: bytes that are alive.
                unsafe { libc::write(libc::STDERR_FILENO, message.as_ptr().cast(), message.len()) };
                end_now();
            }
        }
    });
    watching.map(drop).map_err(|error| RefusedOperation::error(Operation::Thread, error))
}

/// A lock that a thread holds as long as it lives. The kernel marks the lock (a robust mutex) when the thread ends,
/// however it does: no destructor runs in a thread that makes the system call `exit`.
struct ThreadExitMutex(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: the mutex is used through the C library alone, which any thread may call.
unsafe impl Sync for ThreadExitMutex {}

impl ThreadExitMutex {
    /// Of the calling thread; `None` if the system has no such locks, or another thread has it: there is one a process.
    fn of_this_thread() -> Option<&'static Self> {
        static LIFELINE: ThreadExitMutex = ThreadExitMutex(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER));
        static IS_TAKEN: AtomicBool = AtomicBool::new(false);
        if IS_TAKEN.swap(true, Ordering::Relaxed) {
            return None;
        }
        let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
        // SAFETY: the attributes are initialised by the first call, used if that has succeeded, and destroyed. The mutex
        // is static, and as this is the first call nobody uses it yet.
        let held = unsafe {
            if libc::pthread_mutexattr_init(attributes.as_mut_ptr()) != 0 {
                return None;
            }
            let made = libc::pthread_mutexattr_setrobust(attributes.as_mut_ptr(), libc::PTHREAD_MUTEX_ROBUST) == 0
                && libc::pthread_mutex_init(LIFELINE.0.get(), attributes.as_ptr()) == 0;
            libc::pthread_mutexattr_destroy(attributes.as_mut_ptr());
            made && libc::pthread_mutex_lock(LIFELINE.0.get()) == 0
        };
        held.then_some(&LIFELINE)
    }

    /// Whether the thread has ended.
    fn owner_has_exited(&self) -> bool {
        // SAFETY: `of_this_thread` has initialised the mutex, which is never destroyed. If its owner has ended, the calling
        // thread has it now, and keeps it.
        unsafe { libc::pthread_mutex_trylock(self.0.get()) == libc::EOWNERDEAD }
    }
}

/// Waits for the end of a process, until the deadline at most; whether its descriptor says that it has come. A signal
/// may end the wait early.
pub(crate) fn wait_for_exit(process: &OwnedFd, deadline: Instant) -> bool {
    let mut entry = libc::pollfd { fd: process.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let time = timespec(deadline.saturating_duration_since(Instant::now()));
    // SAFETY: one entry, and a time.
    unsafe { libc::ppoll(&raw mut entry, 1, &raw const time, std::ptr::null()) > 0 }
}

/// The signal of a process that gave up, as Rust does when there is no memory.
pub(crate) const SIGABRT: i32 = libc::SIGABRT;

/// Sleeps while the word is `seen`, until it is woken or time is up. May wake for no reason.
pub(crate) fn futex_wait(word: &AtomicU32, seen: u32, limit: Option<Duration>) {
    let time = limit.map(timespec);
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the word is alive and aligned; not private, as another process wakes it.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, seen, time) };
}

/// Wakes all who sleep on the word, in any process.
pub(crate) fn futex_wake(word: &AtomicU32) {
    // SAFETY: as in `futex_wait`.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}

/// The process that started this one.
#[allow(clippy::unnecessary_wraps, reason = "not every system knows")]
pub(crate) fn parent_id() -> Option<u32> {
    Some(std::os::unix::process::parent_id())
}

/// Starts this program once more, with a socket as standard input.
pub(crate) fn worker_command(socket: UnixStream) -> Command {
    // The file that this process was started from, though another may have its name by now.
    let mut command = Command::new("/proc/self/exe");
    if let Some(name) = std::env::args_os().next() {
        command.arg0(name);
    }
    command.stdin(Stdio::from(OwnedFd::from(socket)));
    command
}

/// Has this process killed when its parent's thread that started it ends; `false` if that is too late.
pub(crate) fn die_with_parent(parent: u32) -> bool {
    // SAFETY: a number each; asking for the parent cannot fail.
    let now = unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::getppid()
    };
    u32::try_from(now) == Ok(parent)
}

/// Signals that end a process unless it handles them, and that are sent to a whole process group or to all processes of
/// a service: by a terminal (`SIGINT`, `SIGQUIT`, `SIGHUP`), by `systemctl stop` (`SIGTERM`), and by `systemctl kill -s`
/// and scripts around it (`SIGUSR1`, `SIGUSR2`).
const GROUP_SIGNALS: [libc::c_int; 6] =
    [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP, libc::SIGTERM, libc::SIGUSR1, libc::SIGUSR2];

/// Leaves the [`GROUP_SIGNALS`] to the parent: what it does about them holds for its workers. One that they end takes
/// its workers along; one that handles them may let its workers finish.
///
/// Workers stay in the parent's process group. In one of their own they could not read from the terminal, `Ctrl-Z` would
/// stop the parent alone, and `kill -- -GROUP` would miss them; while systemd, which knows processes by their control
/// group, would reach them as before.
///
/// A handler that does nothing, unlike "ignore", is not inherited by programs that tasks start. Where the program ignores
/// a signal, as under `nohup`, that stays as it is: its child programs are to ignore it as well.
pub(crate) fn install_noop_signal_handlers() {
    extern "C" fn nothing(_: libc::c_int) {}
    for signal in GROUP_SIGNALS {
        // SAFETY: a zeroed action is a valid one, and the handler may run at any time.
        unsafe {
            let mut before: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(signal, std::ptr::null(), &raw mut before) == 0 && before.sa_sigaction == libc::SIG_IGN {
                continue;
            }
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
            action.sa_flags = libc::SA_RESTART;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
}

/// Limits the private memory of this process; allocations beyond it fail.
pub(crate) fn set_memory_limit(bytes: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: a limit that is alive.
    let limited = check(unsafe { libc::setrlimit(libc::RLIMIT_DATA, &raw const limit) });
    limited.map(drop).map_err(|error| RefusedOperation::error(Operation::Limit, error))
}

/// Whether this process has more rights than the one that started it, by a set-user-ID or set-group-ID bit, or
/// capabilities, of the program's file.
pub(crate) fn has_elevated_rights() -> bool {
    // SAFETY: it reads what the kernel gave this process at its start.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Whether this process acts as another user or group than its caller's, and so would the workers that it starts.
pub(crate) fn acts_for_another_user() -> bool {
    // SAFETY: they cannot fail.
    unsafe { libc::getuid() != libc::geteuid() || libc::getgid() != libc::getegid() }
}

/// Who has made a socket pair: its process, and the user and group that this acted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    process: u32,
    user: u32,
    group: u32,
}

impl Peer {
    /// A process of the user and group that this one acts as.
    pub(crate) fn of_same_user(process: u32) -> Self {
        // SAFETY: they cannot fail.
        let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
        Self { process, user, group }
    }
}

/// Who has made the socket that is standard input; `None` if that is no socket of this system's.
pub(crate) fn stdin_peer() -> Option<Peer> {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    #[allow(clippy::cast_possible_truncation, reason = "three numbers")]
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: room for the answer, of the length that is said.
    let found =
        unsafe { libc::getsockopt(0, libc::SOL_SOCKET, libc::SO_PEERCRED, (&raw mut peer).cast(), &raw mut len) };
    let process = u32::try_from(peer.pid).ok().filter(|pid| found == 0 && *pid != 0)?;
    Some(Peer { process, user: peer.uid, group: peer.gid })
}

/// Does what Rust's runtime does to a process before `main`, as far as it can be done from outside: standard streams are
/// open, and writing to a closed pipe is an error, not the end.
pub(crate) fn prepare_like_rust_runtime() {
    // SAFETY: numbers and a C string; a stream that is closed is nobody's.
    unsafe {
        for stream in 0..3 {
            // The lowest free number is this one: those below are open by now.
            if libc::fcntl(stream, libc::F_GETFD) < 0 {
                libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
            }
        }
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
    }
}

/// Takes standard input, which is a socket, away from the user's code: that reads nothing.
pub(crate) fn take_stdin() -> io::Result<UnixStream> {
    // SAFETY: 0 is standard input; the copy is new and nobody else's.
    let socket = unsafe {
        let copy = check(libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 3));
        OwnedFd::from_raw_fd(copy.map_err(|error| RefusedOperation::error(Operation::Duplicate, error))?)
    };
    let nothing = empty_input(Path::new("/dev/null"))?;
    // SAFETY: two open descriptors.
    check(unsafe { libc::dup2(nothing.as_raw_fd(), 0) })?;
    Ok(UnixStream::from(socket))
}

/// What reads as an empty file: the file of this path, or where that is not there, as in a chroot, the end of a pipe that
/// nobody writes to.
fn empty_input(path: &Path) -> io::Result<OwnedFd> {
    match std::fs::File::open(path) {
        Ok(file) => Ok(file.into()),
        Err(_) => {
            io::pipe().map(|(end, _)| end.into()).map_err(|error| RefusedOperation::error(Operation::Duplicate, error))
        }
    }
}

/// Lends the socket that standard input is, where [`take_stdin`] could not take it.
pub(crate) fn with_stdin(work: impl FnOnce(&mut UnixStream)) {
    // SAFETY: descriptor 0 is a socket, as `parent` has checked, and nothing closes it here: it is not dropped.
    let mut stdin = std::mem::ManuallyDrop::new(unsafe { UnixStream::from_raw_fd(0) });
    work(&mut stdin);
}

/// Asks for few, large pages for memory that is about to be written: a tenth of the faults. The system keeps memory
/// with this advice apart from memory without it, as one more mapping, of which a process may have some 65,000: so it is
/// given only for whole large pages, which memory that large has to itself.
pub(crate) fn advise_huge_pages(start: *mut u8, len: usize) {
    const LARGE_PAGE: usize = 2 << 20;
    let first = start.addr().next_multiple_of(LARGE_PAGE);
    let end = (start.addr() + len) / LARGE_PAGE * LARGE_PAGE;
    if end > first {
        // SAFETY: whole pages of an allocation of the caller's; advice changes no content.
        unsafe { libc::madvise(start.with_addr(first).cast(), end - first, libc::MADV_HUGEPAGE) };
    }
}

/// How far this thread's stack may be used by what nests as deep as a message says: an address, above the end of the
/// stack by as much as the rest needs. 0 if the system does not tell, or this thread runs on another stack.
pub(crate) fn stack_limit() -> usize {
    /// Bytes that are left; of small stacks a quarter.
    const LEFT: usize = 128 << 10;
    thread_local! {
        /// Where the stack begins, and where it ends.
        static STACK: Cell<Option<(usize, usize)>> = const { Cell::new(None) };
    }
    let (start, end) = STACK.get().unwrap_or_else(|| {
        let found = stack();
        STACK.set(Some(found));
        found
    });
    let here = std::ptr::from_ref(&start).addr();
    if (start..end).contains(&here) { start + LEFT.min((end - start) / 4) } else { 0 }
}

/// The addresses of this thread's stack: the first one, and the one behind it. Both 0 if the system does not tell.
fn stack() -> (usize, usize) {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let (mut start, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: the attributes are filled in by the first call, read by the second if that succeeded, and destroyed.
    unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return (0, 0);
        }
        libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut start, &raw mut size);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
    }
    (start.addr(), start.addr().saturating_add(size))
}

/// The name of a signal.
pub(crate) fn signal_name(signal: i32) -> &'static str {
    match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGSYS => "SIGSYS",
        _ => "a signal",
    }
}

fn timespec(time: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: time.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: time.subsec_nanos().into(),
    }
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn standard_input_is_empty_without_dev_null_too() {
        for path in ["/dev/null", "/no/such/file"] {
            let input = empty_input(Path::new(path)).expect("there are descriptors");
            let mut bytes = Vec::new();
            std::fs::File::from(input).read_to_end(&mut bytes).expect("it reads");
            assert!(bytes.is_empty());
        }
    }
}
