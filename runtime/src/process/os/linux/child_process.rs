//! [`ChildProcess`]: a child process that is signalled and waited for through its pidfd.
//!
//! Once a process was waited for, the kernel may give its id to another process. In a user's program other code may
//! wait: a thread in `waitpid(-1)`, a handler of `SIGCHLD`, or the kernel itself where `SIGCHLD` is ignored. A pidfd
//! stays with its process, so a signal through it never reaches another one.
//!
//! Kernels before 5.3 and some sandboxes have no pidfds. Then the process id is used, and only while the kernel says
//! that it belongs to a child that was not waited for.

use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};

use crate::process::os::{self, WaitResult};
use crate::sys::mutex;
use crate::sys::owner::Owner;

/// The interval at which a process without a pidfd is asked whether it has exited.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// The time that a killed process may take to exit. A process in an uninterruptible wait for a device takes longer, and
/// is left alone then.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// How a process has exited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Code(i32),
    Signal(i32),
    /// Other code of the program has waited for it, and the kernel no longer has its status.
    Unknown,
}

impl Exit {
    fn of(status: ExitStatus) -> Self {
        match (status.signal(), status.code()) {
            (Some(signal), _) => Self::Signal(signal),
            (None, Some(code)) => Self::Code(code),
            (None, None) => Self::Unknown,
        }
    }
}

/// A child process. Dropping it kills the process and waits for it, so that neither a process nor a zombie stays.
#[derive(Debug)]
pub(crate) struct ChildProcess(Arc<ProcessHandle>);

#[derive(Debug)]
pub(crate) struct ProcessHandle {
    /// The process that started the child. A forked copy of it neither signals the child nor waits for it.
    owner: Owner,
    pid: Pid,
    pidfd: Option<OwnedFd>,
    /// Set once the process was waited for. The lock is held for system calls that do not block.
    exit: Mutex<Option<Exit>>,
}

impl ChildProcess {
    /// Takes charge of a child process that was just started.
    ///
    /// # Errors
    ///
    /// If no descriptor is left for its pidfd. The child is killed then.
    #[allow(clippy::needless_pass_by_value, reason = "this value waits for the child from now on")]
    pub(crate) fn new(child: std::process::Child) -> io::Result<Self> {
        let pid =
            Pid::from_raw(child.id().cast_signed()).ok_or_else(|| io::Error::other("a child process has no id"))?;
        let child = |pidfd| ProcessHandle { owner: Owner::this_process(), pid, pidfd, exit: Mutex::new(None) };
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Self(Arc::new(child(Some(pidfd))))),
            Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM)) => {
                // Dropping this value kills the child.
                drop(Self(Arc::new(child(None))));
                Err(error.into())
            }
            // The kernel or a sandbox has no pidfds, or the process has exited, which `exit` finds out.
            Err(_) => Ok(Self(Arc::new(child(None)))),
        }
    }

    /// A handle that reaps the process if nothing waits for it. It neither keeps the process alive nor kills it.
    pub(crate) fn reaper(&self) -> Reaper {
        Reaper(Arc::downgrade(&self.0))
    }
}

/// Reaps a child process that exits while it is idle.
pub(crate) struct Reaper(Weak<ProcessHandle>);

impl Reaper {
    /// Reaps the child if it has exited, so that no zombie stays; `false` then.
    pub(crate) fn is_running(&self) -> bool {
        self.0.upgrade().is_some_and(|child| child.exit().is_none())
    }
}

impl Deref for ChildProcess {
    type Target = ProcessHandle;

    fn deref(&self) -> &ProcessHandle {
        &self.0
    }
}

impl ProcessHandle {
    pub(crate) fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().cast_unsigned()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Exit>> {
        mutex::lock(&self.exit)
    }

    /// How the process has exited; `None` while it runs.
    pub(crate) fn exit(&self) -> Option<Exit> {
        // In a forked copy another thread may have held the lock at the fork, and never releases it there.
        if !self.owner.is_this_process() {
            return Some(Exit::Unknown);
        }
        self.reap(&mut self.lock())
    }

    fn reap(&self, exit: &mut Option<Exit>) -> Option<Exit> {
        if exit.is_none() {
            *exit = match self.ask() {
                Ok(exit) => exit,
                // The process is no child any more: other code of the program has waited for it.
                Err(_) => Some(self.status_from_pidfd().unwrap_or(Exit::Unknown)),
            };
        }
        *exit
    }

    /// Asks the kernel how the child has exited, without waiting: `None` while it runs; an error if it is no child of
    /// this process.
    fn ask(&self) -> Result<Option<Exit>, Errno> {
        let ask = |id| rustix::process::waitid(id, WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        let by_number = WaitId::Pid(self.pid);
        let answer = match &self.pidfd {
            // Kernel 5.3 has pidfds and cannot wait for them.
            Some(pidfd) => match ask(WaitId::PidFd(pidfd.as_fd())) {
                Err(Errno::INVAL) => ask(by_number),
                answer => answer,
            },
            None => ask(by_number),
        };
        Ok(answer?.map(|status| match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, Some(signal)) => Exit::Signal(signal),
            (None, None) => Exit::Unknown,
        }))
    }

    /// The status that kernels since 6.15 keep with the pidfd when other code has waited for the process.
    fn status_from_pidfd(&self) -> Option<Exit> {
        let pidfd = self.pidfd.as_ref()?;
        // SAFETY: an all-zero `pidfd_info` is a valid value.
        let mut info: libc::pidfd_info = unsafe { std::mem::zeroed() };
        info.mask = libc::PIDFD_INFO_EXIT.into();
        // SAFETY: the descriptor is open, and `info` has the size that the request's number encodes.
        let answer = unsafe { libc::ioctl(pidfd.as_raw_fd(), libc::PIDFD_GET_INFO, &raw mut info) };
        let told = answer == 0 && info.mask & u64::from(libc::PIDFD_INFO_EXIT) != 0;
        told.then(|| Exit::of(ExitStatus::from_raw(info.exit_code)))
    }

    /// Kills the process with `SIGKILL`, which also ends a stopped process.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Continues the process if a signal has stopped it.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        if !self.owner.is_this_process() {
            return;
        }
        let mut exit = self.lock();
        // A process that has exited is not signalled.
        if self.reap(&mut exit).is_some() {
            return;
        }
        let through_pidfd = |pidfd| rustix::process::pidfd_send_signal(pidfd, signal).is_ok();
        if self.pidfd.as_ref().is_some_and(through_pidfd) {
            return;
        }
        // `reap` found that the process runs and is a child of this process, and Fanfold waits for it under this lock
        // only. Without a pidfd, other code of the program may wait for it at this moment.
        let _ = rustix::process::kill_process(self.pid, signal);
    }

    /// Waits until the process exits, or the deadline.
    pub(crate) fn wait(&self, deadline: Instant) -> Option<Exit> {
        loop {
            let exit = self.exit();
            let left = deadline.saturating_duration_since(Instant::now());
            if exit.is_some() || left.is_zero() {
                return exit;
            }
            match &self.pidfd {
                // A pidfd that is ready while its process runs is broken: poll instead of spinning.
                Some(pidfd) if !os::wait_for_exit(pidfd, deadline) => {}
                Some(_) if self.exit().is_some() => {}
                _ => std::thread::sleep(left.min(POLL_INTERVAL)),
            }
        }
    }

    /// Waits for bytes on the socket to the process, its exit, or the deadline.
    pub(crate) fn wait_for_socket(&self, socket: &UnixStream, deadline: Option<Instant>) -> io::Result<WaitResult> {
        if self.pidfd.is_some() {
            return os::wait_for_socket_or_exit(socket, self.pidfd.as_ref(), deadline);
        }
        // A process that the child forked may hold the socket open, so its exit is polled as well.
        loop {
            let glance = Instant::now() + POLL_INTERVAL;
            let until = deadline.map_or(glance, |deadline| deadline.min(glance));
            match os::wait_for_socket_or_exit(socket, None, Some(until))? {
                WaitResult::TimedOut if self.exit().is_some() => return Ok(WaitResult::ProcessExited),
                WaitResult::TimedOut if deadline.is_none_or(|deadline| Instant::now() < deadline) => {}
                waited => return Ok(waited),
            }
        }
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        if self.exit().is_none() {
            self.kill();
            self.wait(Instant::now() + KILL_TIMEOUT);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[allow(clippy::zombie_processes, reason = "the `ChildProcess` waits for it")]
    fn child(command: &str) -> ChildProcess {
        let child = Command::new("sh").args(["-c", command]).stdin(Stdio::null()).spawn().expect("there is a shell");
        ChildProcess::new(child).expect("there are descriptors")
    }

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn an_exit_is_reported_with_its_code_or_signal() {
        assert_eq!(child("exit 3").wait(far()), Some(Exit::Code(3)));
        assert_eq!(child("kill -TERM $$").wait(far()), Some(Exit::Signal(libc::SIGTERM)));
        let killed = child("exec sleep 1000");
        assert_eq!(killed.exit(), None);
        killed.kill();
        assert_eq!(killed.wait(far()), Some(Exit::Signal(libc::SIGKILL)));
        assert_eq!(killed.exit(), Some(Exit::Signal(libc::SIGKILL)));
    }

    #[test]
    fn a_process_without_a_pidfd_is_waited_for_by_its_id() {
        let without = |command| {
            let mut process = child(command);
            Arc::get_mut(&mut process.0).expect("it has no reaper").pidfd = None;
            process
        };
        assert_eq!(without("exit 3").wait(far()), Some(Exit::Code(3)));
        let killed = without("exec sleep 1000");
        assert_eq!(killed.exit(), None);
        killed.kill();
        assert_eq!(killed.wait(far()), Some(Exit::Signal(libc::SIGKILL)));
    }

    #[test]
    fn a_process_that_other_code_has_reaped_counts_as_exited() {
        let process = child("exit 5");
        let mut status = 0;
        // SAFETY: the process is a child of this test, and `status` is a valid place for the answer.
        assert!(unsafe { libc::waitpid(process.pid.as_raw_nonzero().get(), &raw mut status, 0) } > 0);
        let exit = process.wait(far());
        // Kernels since 6.15 keep the status with the pidfd.
        assert!(matches!(exit, Some(Exit::Code(5) | Exit::Unknown)), "{exit:?}");
        let number_alone =
            ProcessHandle { owner: Owner::this_process(), pid: process.pid, pidfd: None, exit: Mutex::new(None) };
        assert_eq!(number_alone.exit(), Some(Exit::Unknown));
    }

    #[test]
    fn a_dropped_process_leaves_no_zombie() {
        let process = child("exec sleep 1000");
        let pid = process.pid;
        drop(process);
        let mut status = 0;
        // SAFETY: the call takes numbers, and `status` is a valid place for the answer.
        assert_eq!(unsafe { libc::waitpid(pid.as_raw_nonzero().get(), &raw mut status, libc::WNOHANG) }, -1);
        assert_eq!(io::Error::last_os_error().raw_os_error(), Some(libc::ECHILD));
    }
}
