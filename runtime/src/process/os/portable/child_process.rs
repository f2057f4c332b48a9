//! [`ChildProcess`]: a child process that is killed and waited for through the standard library.
//!
//! The connection to the process says first that it has ended; the process itself is asked every so often.

use std::io;
use std::ops::Deref;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use super::system::{remove_name_of, resume, signal_of};
use super::{Socket, WaitResult, wait_for_socket_or_exit};
use crate::sys::mutex;
use crate::sys::owner::Owner;

/// The interval at which a process is asked whether it has exited, while its connection is waited for: a process that
/// it started may hold the connection open.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// The interval while only its exit is waited for, short at first.
const SHORTEST_NAP: Duration = Duration::from_micros(100);
const LONGEST_NAP: Duration = Duration::from_millis(10);
/// The time that a killed process may take to exit. A process in an uninterruptible wait for a device takes longer, and
/// is left alone then.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// How a process has exited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Code(i32),
    Signal(i32),
    /// Other code of the program has waited for it, and the system no longer has its status.
    Unknown,
}

impl Exit {
    fn of(status: ExitStatus) -> Self {
        match (signal_of(status), status.code()) {
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
    /// The process that started the child. A forked copy of it neither kills the child nor waits for it.
    owner: Owner,
    id: u32,
    /// The child, and how it has exited. The lock is held for system calls that do not block.
    state: Mutex<(Child, Option<Exit>)>,
}

impl ChildProcess {
    /// Takes charge of a child process that was just started.
    #[allow(clippy::unnecessary_wraps, reason = "as on Linux, where the system may refuse a descriptor")]
    pub(crate) fn new(child: Child) -> io::Result<Self> {
        let (id, state) = (child.id(), Mutex::new((child, None)));
        Ok(Self(Arc::new(ProcessHandle { owner: Owner::this_process(), id, state })))
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
        self.id
    }

    /// Runs `use_child` with the standard library's handle.
    pub(crate) fn with_child<T>(&self, use_child: impl FnOnce(&Child) -> T) -> T {
        use_child(&mutex::lock(&self.state).0)
    }

    /// How the process has exited; `None` while it runs.
    pub(crate) fn exit(&self) -> Option<Exit> {
        // In a forked copy another thread may have held the lock at the fork, and never releases it there.
        if !self.owner.is_this_process() {
            return Some(Exit::Unknown);
        }
        let (child, exit) = &mut *mutex::lock(&self.state);
        reap(child, exit)
    }

    /// Kills the process.
    pub(crate) fn kill(&self) {
        if self.owner.is_this_process() {
            let (child, exit) = &mut *mutex::lock(&self.state);
            // A process that has exited is not killed: its id may be that of another one.
            if reap(child, exit).is_none() {
                let _ = child.kill();
            }
        }
    }

    /// Continues the process if a signal has stopped it.
    pub(crate) fn resume(&self) {
        if self.owner.is_this_process() {
            let (child, exit) = &mut *mutex::lock(&self.state);
            if reap(child, exit).is_none() {
                resume(self.id);
            }
        }
    }

    /// Waits until the process exits, or the deadline.
    pub(crate) fn wait(&self, deadline: Instant) -> Option<Exit> {
        let mut nap = SHORTEST_NAP;
        loop {
            let exit = self.exit();
            let left = deadline.saturating_duration_since(Instant::now());
            if exit.is_some() || left.is_zero() {
                return exit;
            }
            std::thread::sleep(left.min(nap));
            nap = (nap * 2).min(LONGEST_NAP);
        }
    }

    /// Waits for bytes on the connection to the process, its exit, or the deadline.
    pub(crate) fn wait_for_socket(&self, socket: &Socket, deadline: Option<Instant>) -> io::Result<WaitResult> {
        loop {
            let glance = Instant::now() + POLL_INTERVAL;
            let until = deadline.map_or(glance, |deadline| deadline.min(glance));
            match wait_for_socket_or_exit(socket, None, Some(until))? {
                WaitResult::TimedOut if self.exit().is_some() => return Ok(WaitResult::ProcessExited),
                WaitResult::TimedOut if deadline.is_none_or(|deadline| Instant::now() < deadline) => {}
                waited => return Ok(waited),
            }
        }
    }
}

fn reap(child: &mut Child, exit: &mut Option<Exit>) -> Option<Exit> {
    if exit.is_none() {
        *exit = match child.try_wait() {
            Ok(status) => status.map(Exit::of),
            // The process is no child any more: other code of the program has waited for it.
            Err(_) => Some(Exit::Unknown),
        };
        if exit.is_some() {
            remove_name_of(child.id());
        }
    }
    *exit
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        if self.exit().is_none() {
            self.kill();
            self.wait(Instant::now() + KILL_TIMEOUT);
        }
    }
}
