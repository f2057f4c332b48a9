//! Starting this program once more, and the rights and limits of a process.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Resource, Rlimit, getegid, geteuid, getgid, getuid};

use crate::process::os::refusal::{Operation, RefusedOperation};

/// The command that starts this program once more.
pub(crate) fn this_program() -> io::Result<Command> {
    // On Linux this link leads to the file that the process was started from, even if its path names another file by
    // now. Elsewhere the handshake notices another file.
    let program = if cfg!(target_os = "linux") { "/proc/self/exe".into() } else { std::env::current_exe()? };
    let mut command = Command::new(program);
    if let Some(name) = std::env::args_os().next() {
        command.arg0(name);
    }
    Ok(command)
}

/// Whether this process is the parent of the calling one.
pub(crate) fn is_parent(process: u32) -> bool {
    std::os::unix::process::parent_id() == process
}

/// Limits the private memory of this process (`RLIMIT_DATA`). Allocations beyond the limit fail.
pub(crate) fn set_memory_limit(bytes: u64) -> io::Result<()> {
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

/// What an exit code means.
pub(crate) fn describe_exit_code(_: i32) -> Option<&'static str> {
    None
}
