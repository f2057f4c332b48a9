//! The parent's side of one worker process: started, asked, and buried.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use super::codec::Attachment;
use super::handshake::{HANDSHAKE_TIMEOUT, Handshake, HandshakeError, with_worker};
use super::message::{Connection, ReceivedMessage};
use super::os::{self, UnixStream, WaitResult};
use super::running_tasks::RunningTask;
use super::serve::ReplyHeader;
use super::spawner;
use super::start_limit::{StartCaller, StartLimiter};
use super::startup::WORKER_VARIABLE;
use crate::process::os::pidfd::{ChildProcess, Exit};
use crate::process::os::refusal::{self, Operation, RefusedOperation};
use crate::process::transport::doorbell::{CLOSE, RELEASE_MEMORY};
use crate::process::transport::ring::{Corrupt, FrameWords, Rings};
use crate::sys::cpu;
use crate::sys::owner::Owner;

/// How long a worker that is to end may take to drop what it has.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a wait for the system to start a process looks whether its call was cancelled.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How long a process takes to end once its sockets are closed.
const EXIT_GRACE: Duration = Duration::from_millis(500);

/// What a pool wants of its workers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WorkerLimits {
    /// Bytes of private memory that each may have.
    pub(crate) memory_limit: Option<u64>,
    /// Tasks after which each is replaced.
    pub(crate) max_tasks: Option<u64>,
    /// How many there are, to share the machine's cores among.
    pub(crate) workers: usize,
}

/// A worker process.
pub(crate) struct Child {
    /// The process that started it. A copy of that, made by a fork, leaves the worker alone.
    owner: Owner,
    /// Dropping the last handle kills the process and waits for it.
    process: Arc<ChildProcess>,
    /// Whether it has begun a call, so that its start has not failed.
    pub(super) has_begun_call: bool,
    /// How many limiter of its pool had failed in a row before its own.
    pub(super) failed_before: u32,
    rings: Rings,
    pub(super) connection: Connection,
    /// Requests posted so far, modulo 2^32 as the ring counts.
    posted: u32,
    /// Position in the ring behind each request that has not been answered, and its number.
    request_ends: VecDeque<(u32, u32)>,
    /// Position behind the last answered one.
    answered_end: u32,
    limits: WorkerLimits,
}

/// Why a worker cannot be asked any more.
#[derive(Clone, Copy, Debug)]
pub(super) enum LossCause {
    /// It ended, or closed its socket.
    Disconnected,
    /// What it wrote cannot be.
    Corrupt,
    /// Its task has run out of time, or was cancelled.
    Killed,
    /// It is the worker of another process, which this one was forked from.
    Forked,
    /// The system did not let descriptors through to it: the number of the error.
    SendFailed(i32),
}

/// How long a wait may go without noticing that its worker has ended.
const FUTEX_WAIT: Duration = Duration::from_millis(2);

/// What a wait has found.
pub(super) enum WaitEvent {
    Reply,
    /// The worker has begun the request that was asked about.
    Begun,
    TimedOut,
    Lost(LossCause),
}

impl Child {
    /// StartLimiter a worker, and waits until it is ready. Whichever step fails, nothing of it stays behind.
    pub(super) fn start(
        limits: WorkerLimits,
        caller: &mut StartCaller<'_>,
        limiter: &StartLimiter,
    ) -> Result<Self, StartError> {
        let deadline = caller.deadline();
        let (rings, memory) = Rings::create().map_err(StartError::System)?;
        let pair = UnixStream::pair().map_err(|error| RefusedOperation::error(Operation::Sockets, error));
        let (socket, theirs) = pair.map_err(StartError::System)?;
        let mut command = os::worker_command(theirs);
        command.env(WORKER_VARIABLE, std::process::id().to_string());
        share_cores(&mut command, limits.workers);
        let process = Arc::new(spawn(command, caller)?);
        // Until the worker is ready, cancelling kills it.
        let starting = caller.task.map(|task| RunningTask::enter(task, &process));
        if !limiter.track(&process) || (caller.is_cancelled)() {
            return Err(StartError::Cancelled);
        }
        let handshake =
            with_worker(&socket, Some(&process), &memory, Handshake::new(limits.memory_limit.unwrap_or(0)), deadline);
        drop(starting);
        let child = Self {
            owner: Owner::this_process(),
            process,
            has_begun_call: false,
            failed_before: caller.failed_before,
            rings,
            connection: Connection::new(socket),
            posted: 0,
            request_ends: VecDeque::new(),
            answered_end: 0,
            limits,
        };
        match handshake {
            Ok(()) => Ok(child),
            Err(_) if (caller.is_cancelled)() => Err(StartError::Cancelled),
            Err(HandshakeError::TimedOut) if is_over(deadline) => Err(StartError::TimedOut),
            Err(HandshakeError::TimedOut) => Err(StartError::NoAnswer),
            Err(HandshakeError::OtherBuild) => Err(StartError::OtherBuild),
            Err(HandshakeError::Refused(why)) => Err(StartError::Refused(why)),
            Err(HandshakeError::Disconnected(error)) => {
                Err(StartError::Ended(child.reap(LossCause::Disconnected), error))
            }
        }
    }

    pub(super) fn process(&self) -> &Arc<ChildProcess> {
        &self.process
    }

    /// Sends a request; `None` while the ring is full, else its number.
    pub(super) fn post(
        &mut self,
        words: FrameWords,
        payload: &[u8],
        attachments: &[Attachment],
    ) -> Result<Option<u32>, LossCause> {
        self.check_owner()?;
        self.connection.send_descriptors(attachments).map_err(|error| match (error.kind(), error.raw_os_error()) {
            (io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset, _) | (_, None) => LossCause::Disconnected,
            (_, Some(number)) => LossCause::SendFailed(number),
        })?;
        let Some(end) = self.rings.post(words, payload).map_err(|Corrupt| LossCause::Corrupt)? else {
            return Ok(None);
        };
        let number = self.posted;
        self.posted = number.wrapping_add(1);
        self.request_ends.push_back((number, end));
        Ok(Some(number))
    }

    /// Wakes the worker for what was posted.
    pub(super) fn wake_worker(&self) {
        if self.owner.is_here() {
            self.rings.wake_worker();
        }
    }

    /// Callers run the user's code between the steps of a call, and that may fork.
    fn check_owner(&self) -> Result<(), LossCause> {
        if self.owner.is_here() { Ok(()) } else { Err(LossCause::Forked) }
    }

    /// Whether the worker has begun the request of this number.
    pub(super) fn has_begun(&self, number: u32) -> bool {
        let first = self.request_ends.front().map_or(self.posted, |(number, _)| *number);
        // The numbers wrap around: differences tell. What cannot be is a worker's that wrote where it must not: while
        // it ran something.
        let begun = self.rings.begun_count().wrapping_sub(first);
        begun > number.wrapping_sub(first) || begun > self.posted.wrapping_sub(first)
    }

    /// Takes back the requests that the worker has not begun; gives the number of the first of them.
    pub(super) fn take_back(&mut self) -> u32 {
        let (request_ends, answered_end) = (&self.request_ends, self.answered_end);
        let begun = self.rings.take_back(|begun| {
            let last = request_ends.iter().rev().find(|(number, _)| begun.wrapping_sub(*number).cast_signed() > 0);
            last.map_or(answered_end, |(_, end)| *end)
        });
        self.request_ends.retain(|(number, _)| begun.wrapping_sub(*number).cast_signed() > 0);
        self.posted = begun;
        begun
    }

    /// The oldest request was answered.
    pub(super) fn answered(&mut self) {
        if let Some((_, end)) = self.request_ends.pop_front() {
            self.answered_end = end;
        }
    }

    /// Waits for a reply; with `request`, also until the worker has begun that.
    ///
    /// Most replies come at once, and a wake-up through memory costs half of one through a socket. So it dozes first,
    /// and listens for the worker's end after that.
    pub(super) fn wait(&mut self, deadline: Option<Instant>, request: Option<u32>) -> WaitEvent {
        if let Err(cause) = self.check_owner() {
            return WaitEvent::Lost(cause);
        }
        let left = deadline.map_or(FUTEX_WAIT, |deadline| deadline.saturating_duration_since(Instant::now()));
        self.rings.parent_sleep_on_futex(left.min(FUTEX_WAIT), || {
            self.rings.has_reply() || request.is_some_and(|number| self.has_begun(number))
        });
        loop {
            if self.rings.has_reply() {
                return WaitEvent::Reply;
            }
            if request.is_some_and(|number| self.has_begun(number)) {
                return WaitEvent::Begun;
            }
            self.rings.set_parent_sleep(true);
            let waited = if self.rings.has_reply() || request.is_some_and(|number| self.has_begun(number)) {
                Ok(WaitResult::TimedOut)
            } else {
                self.process.wait_for_socket(&self.connection.socket, deadline)
            };
            self.rings.set_parent_sleep(false);
            let open = match waited {
                Ok(WaitResult::SocketReady) => match self.connection.drain_socket() {
                    Ok(open) => open,
                    Err(_) => return WaitEvent::Lost(LossCause::Corrupt),
                },
                Ok(WaitResult::TimedOut) => true,
                Ok(WaitResult::ProcessExited) | Err(_) => false,
            };
            if self.rings.has_reply() {
                return WaitEvent::Reply;
            }
            if open && request.is_some_and(|number| self.has_begun(number)) {
                return WaitEvent::Begun;
            }
            if !open {
                return WaitEvent::Lost(LossCause::Disconnected);
            }
            // The worker may send without end: then the socket is ready however late it is.
            if matches!(waited, Ok(WaitResult::TimedOut)) || deadline.is_some_and(|deadline| Instant::now() >= deadline)
            {
                return WaitEvent::TimedOut;
            }
        }
    }

    /// Whether a reply waits.
    pub(super) fn has_reply(&self) -> bool {
        self.rings.has_reply()
    }

    /// Takes a reply's bytes, if there is one. It must be to the oldest request that is not answered.
    pub(super) fn reply(&mut self, payload: &mut Vec<u8>) -> Result<Option<ReplyHeader>, LossCause> {
        self.check_owner()?;
        let words = self.rings.take_reply(payload).map_err(|Corrupt| LossCause::Corrupt)?;
        self.rings.wake_worker_for_space();
        let Some(header) = words.map(ReplyHeader::from_words) else { return Ok(None) };
        match self.request_ends.front() {
            Some((request, _)) if *request == header.request => Ok(Some(header)),
            _ => Err(LossCause::Corrupt),
        }
    }

    /// Takes the results that a worker had finished of a reply when it ended; how many.
    pub(super) fn take_open_reply(&self, payload: &mut Vec<u8>) -> u32 {
        if !self.owner.is_here() {
            return 0;
        }
        self.rings.take_open_reply(payload).unwrap_or(0)
    }

    /// Opens a reply's bytes.
    pub(super) fn open<'a>(&mut self, attachment_word: u32, payload: &'a [u8]) -> io::Result<ReceivedMessage<'a>> {
        self.connection.open(attachment_word, payload)
    }

    /// Gives memory back that is not in use, here and there.
    pub(super) fn release_memory(&mut self) {
        if !self.owner.is_here() {
            return;
        }
        self.connection.outbox.release_memory();
        self.connection.inbox.release_memory();
        self.rings.send_command(RELEASE_MEMORY);
    }

    /// Whether there is rings memory for large attachments, of this side or of the worker's.
    pub(super) fn holds_memory(&self) -> bool {
        !(self.connection.outbox.is_empty() && self.connection.inbox.is_empty())
    }

    /// Tells a worker that has nothing to do to end; one that a signal has stopped goes on, to do so.
    pub(super) fn ask_to_close(&self) {
        if self.owner.is_here() {
            self.rings.send_command(CLOSE);
            self.process.resume();
        }
    }

    /// Ends a worker that has nothing to do: it drops what it has, and exits.
    pub(super) fn close(self) {
        self.ask_to_close();
        self.close_by(close_deadline());
    }

    /// Waits until a worker that was asked to close has ended, until the deadline at most; then it is killed.
    pub(super) fn close_by(mut self, deadline: Instant) {
        if !self.owner.is_here() {
            return;
        }
        while let Ok(WaitResult::SocketReady) = self.process.wait_for_socket(&self.connection.socket, Some(deadline)) {
            if !matches!(self.connection.drain_socket(), Ok(true)) {
                self.process.wait(deadline.min(Instant::now() + EXIT_GRACE));
                break;
            }
            if is_over(Some(deadline)) {
                break;
            }
        }
        // Dropping it sees to the rest.
    }

    /// Sees to it that the process has ended, and says how it has.
    pub(super) fn reap(self, cause: LossCause) -> ExitReport {
        let pid = self.process.id();
        if !self.owner.is_here() {
            return ExitReport { pid, exit: None, cause: LossCause::Forked, limits: self.limits };
        }
        let by_itself = match cause {
            LossCause::Disconnected => self.process.wait(Instant::now() + EXIT_GRACE).is_some(),
            LossCause::Corrupt | LossCause::Killed | LossCause::Forked | LossCause::SendFailed(_) => false,
        };
        if !by_itself {
            self.process.kill();
        }
        let exit = self.process.wait(Instant::now() + CLOSE_TIMEOUT);
        ExitReport {
            pid,
            exit: exit.filter(|_| by_itself || matches!(cause, LossCause::Killed)),
            cause,
            limits: self.limits,
        }
    }
}

/// Until when workers that are asked to close now may take.
pub(super) fn close_deadline() -> Instant {
    Instant::now() + CLOSE_TIMEOUT
}

fn is_over(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| deadline <= Instant::now())
}

/// Has the process started, and waits for it; no longer than the caller may.
fn spawn(command: Command, caller: &mut StartCaller<'_>) -> Result<ChildProcess, StartError> {
    let coming = spawner::spawn(command).map_err(StartError::System)?;
    let deadline = caller.deadline();
    loop {
        match coming.recv_timeout(POLL_INTERVAL) {
            Ok(process) => return process.map_err(StartError::System),
            Err(RecvTimeoutError::Disconnected) => return Err(StartError::System(spawner::thread_ended())),
            // What comes later is killed: nobody receives it.
            Err(RecvTimeoutError::Timeout) if (caller.is_cancelled)() => return Err(StartError::Cancelled),
            Err(RecvTimeoutError::Timeout) if is_over(deadline) => return Err(StartError::TimedOut),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Workers share the machine: what is parallel inside of one gets its share of the cores, unless the user said how
/// many.
fn share_cores(command: &mut Command, workers: usize) {
    let share = (cpu::cores() / workers.max(1)).max(1).to_string();
    for variable in ["FANFOLD_CPU_THREADS", "POLARS_MAX_THREADS", "RAYON_NUM_THREADS"] {
        if std::env::var_os(variable).is_none() {
            command.env(variable, &share);
        }
    }
}

/// How a worker ended.
#[derive(Debug)]
pub(crate) struct ExitReport {
    pub(super) pid: u32,
    /// How its process ended, if that was its own doing.
    exit: Option<Exit>,
    cause: LossCause,
    limits: WorkerLimits,
}

impl ExitReport {
    pub(super) fn signal(&self) -> Option<i32> {
        match self.exit {
            Some(Exit::Signal(signal)) => Some(signal),
            _ => None,
        }
    }

    pub(super) fn code(&self) -> Option<i32> {
        match self.exit {
            Some(Exit::Code(code)) => Some(code),
            _ => None,
        }
    }
}

impl fmt::Display for ExitReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.signal(), self.code()) {
            (Some(signal), _) => {
                write!(f, "it was killed by {} (signal {signal})", os::signal_name(signal))?;
                match self.limits.memory_limit {
                    Some(limit) if signal == os::SIGABRT => write!(
                        f,
                        "; its memory limit is {limit} bytes (`memory_limit` of its pool): raise it if the task, its \
                         arguments and its result need more, or send less at once"
                    ),
                    _ => Ok(()),
                }
            }
            (None, Some(code)) => write!(f, "it exited with code {code}"),
            (None, None) if self.exit == Some(Exit::Unknown) && matches!(self.cause, LossCause::Disconnected) => f.write_str(
                "it ended, and how is unknown: another part of this program has waited for it (`waitpid(-1)`), or \
                 ignores SIGCHLD, so that the kernel keeps no exit status",
            ),
            (None, None) => match self.cause {
                LossCause::Disconnected => f.write_str("it closed its connection to the parent"),
                LossCause::Corrupt => f.write_str(
                    "what it sent cannot be read, or nobody asked for it: it wrote into memory that was not its own, or \
                     this process may open no more files (RLIMIT_NOFILE, `ulimit -n`) or has no address space left \
                     (RLIMIT_AS, `ulimit -v`)",
                ),
                LossCause::Killed => f.write_str("it was killed"),
                LossCause::Forked => f.write_str(
                    "it belongs to the process that this one was forked from: start the program anew (exec) after a fork",
                ),
                LossCause::SendFailed(number) => RefusedOperation::error(Operation::Send, io::Error::from_raw_os_error(number)).fmt(f),
            },
        }
    }
}

/// Why there is no worker.
#[derive(Debug)]
pub(super) enum StartError {
    /// The caller was cancelled.
    Cancelled,
    /// The caller's time is up.
    TimedOut,
    System(io::Error),
    NoAnswer,
    OtherBuild,
    /// The worker says why it cannot start.
    Refused(String),
    Ended(ExitReport, io::Error),
}

impl StartError {
    /// Whether the next start may succeed.
    pub(super) fn may_succeed_later(&self) -> bool {
        match self {
            Self::System(error) => refusal::may_succeed_later(error),
            Self::Cancelled | Self::TimedOut | Self::Refused(_) | Self::Ended(..) => true,
            Self::NoAnswer | Self::OtherBuild => false,
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const INIT: &str =
            "`fanfold::init()` must come first in `main`, and what the program does before that must end";
        match self {
            Self::Cancelled => f.write_str("its call was cancelled"),
            Self::TimedOut => write!(f, "a worker process did not become ready within its call's time limit: {INIT}"),
            Self::System(error) => write!(f, "a worker process could not be started: {error}"),
            Self::NoAnswer => {
                write!(f, "the worker process did not answer within {} s: {INIT}", HANDSHAKE_TIMEOUT.as_secs())
            }
            Self::OtherBuild => f.write_str("the worker process is another build of this program"),
            Self::Refused(why) => write!(f, "the worker process could not start: {why}"),
            // A program without `init()` runs to its end, or closes what it takes for standard input.
            Self::Ended(report, error) if report.signal().is_none() => write!(
                f,
                "the worker process ended before it was ready ({report}; {error}): {INIT}; if it does, what the worker \
                 wrote to standard error may say more"
            ),
            Self::Ended(report, _) => write!(f, "the worker process ended before it was ready: {report}"),
        }
    }
}
