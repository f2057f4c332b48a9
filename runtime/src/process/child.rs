//! [`Child`]: the parent-side handle of one worker process.

use std::collections::VecDeque;
use std::io;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use super::codec::Attachment;
use super::exit_report::{ExitReport, LossCause};
use super::handshake::{self, Handshake, HandshakeError};
use super::limits::WorkerLimits;
use super::message::{Connection, ReceivedMessage};
use super::os::{self, Socket, WaitResult};
use super::running_tasks::RunningTask;
use super::serve::ReplyHeader;
use super::spawner;
use super::start_error::StartError;
use super::start_limit::{StartCaller, StartLimiter};
use super::startup::WORKER_VARIABLE;
use crate::process::os::ChildProcess;
use crate::process::os::refusal::{Operation, RefusedOperation};
use crate::process::transport::doorbell::{CLOSE, RELEASE_MEMORY};
use crate::process::transport::ring::{Corrupt, FrameWords, Rings};
use crate::sys::cpu;
use crate::sys::owner::Owner;

/// The time that a worker may take to exit when it is asked to.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// The interval at which a wait for the start of a process checks whether its call was cancelled.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// The time that a process takes to exit once its socket is closed.
const EXIT_GRACE: Duration = Duration::from_millis(500);

/// A worker process, as its parent sees it.
pub(crate) struct Child {
    /// The process that started the worker. A forked copy of it does not touch the worker.
    owner: Owner,
    /// Dropping the last handle kills the process and waits for it.
    process: Arc<ChildProcess>,
    /// Whether the worker has begun a call, so that its start counts as successful.
    pub(super) has_begun_call: bool,
    /// The failed starts in a row of its pool before its own start.
    pub(super) failed_before: u32,
    rings: Rings,
    pub(super) connection: Connection,
    /// The requests that were posted, modulo 2^32 as the cursor of the ring counts.
    posted: u32,
    /// Number and end position of each request that is not answered.
    request_ends: VecDeque<(u32, u32)>,
    /// The end position of the last answered request.
    answered_end: u32,
    limits: WorkerLimits,
}

/// The time that `wait` sleeps on the futex, in which it does not notice that the worker exits.
const FUTEX_WAIT: Duration = Duration::from_millis(2);

/// How a wait for a worker ended.
pub(super) enum WaitEvent {
    Reply,
    /// The worker has begun the request that the caller asked about.
    Begun,
    TimedOut,
    Lost(LossCause),
}

impl Child {
    /// Starts a worker process, and waits until it is ready. If a step fails, the process is killed and everything is
    /// freed.
    pub(super) fn start(
        limits: WorkerLimits,
        caller: &mut StartCaller<'_>,
        limiter: &StartLimiter,
    ) -> Result<Self, StartError> {
        let deadline = caller.deadline();
        let (mut rings, memory) = Rings::create().map_err(StartError::System)?;
        let pair = Socket::pair().map_err(|error| RefusedOperation::error(Operation::Sockets, error));
        let (socket, worker_socket) = pair.map_err(StartError::System)?;
        let mut command = os::worker_command(worker_socket).map_err(StartError::System)?;
        command.env(WORKER_VARIABLE, std::process::id().to_string());
        share_cores(&mut command, limits.workers);
        let process = Arc::new(spawn(command, caller)?);
        // From here on, cancelling the task kills the process.
        let starting = caller.task.map(|task| RunningTask::enter(task, &process));
        if !limiter.track(&process) || (caller.is_cancelled)() {
            return Err(StartError::Cancelled);
        }
        let outcome = os::attach(&socket, &process).map_err(HandshakeError::Disconnected).and_then(|()| {
            let own = Handshake::new(limits.memory_limit.unwrap_or(0), limits.hooks);
            handshake::with_worker(&socket, Some(&process), &memory, own, deadline)
        });
        rings.connect(&socket);
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
        match outcome {
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

    /// Posts a request; returns its number, or `None` if the ring is full.
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

    /// Wakes the worker if it sleeps, for the requests that were posted.
    pub(super) fn wake_worker(&self) {
        if self.owner.is_this_process() {
            self.rings.wake_worker();
        }
    }

    /// Checks that this process is not a forked copy. Code of the user, which may fork, runs between the steps of a
    /// call.
    fn check_owner(&self) -> Result<(), LossCause> {
        if self.owner.is_this_process() { Ok(()) } else { Err(LossCause::Forked) }
    }

    /// Whether the worker has begun the request of this number.
    pub(super) fn has_begun(&self, number: u32) -> bool {
        let first = self.request_ends.front().map_or(self.posted, |(number, _)| *number);
        // Numbers wrap around, so only differences count. More begun requests than posted ones mean that the worker
        // overwrote the cursor, so it was running something.
        let begun = self.rings.begun_count().wrapping_sub(first);
        begun > number.wrapping_sub(first) || begun > self.posted.wrapping_sub(first)
    }

    /// Takes back the requests that the worker has not begun; returns the number of the first of them.
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

    /// Records that the oldest request was answered.
    pub(super) fn mark_answered(&mut self) {
        if let Some((_, end)) = self.request_ends.pop_front() {
            self.answered_end = end;
        }
    }

    /// Waits for a reply; with `request`, also until the worker has begun that request.
    ///
    /// Most replies come within microseconds, and a wake-up by futex costs half of one by socket. So this sleeps on the
    /// futex for [`FUTEX_WAIT`] first, and then polls the socket and the pidfd, which report the worker's death.
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
            // A compromised worker may send bytes without end, and then `poll` never reports the deadline.
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

    /// Takes the next reply, if there is one. It must answer the oldest request that is not answered.
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

    /// Takes the complete results of the reply that the worker was writing when it died; returns their number.
    pub(super) fn take_open_reply(&self, payload: &mut Vec<u8>) -> u32 {
        if !self.owner.is_this_process() {
            return 0;
        }
        self.rings.take_open_reply(payload).unwrap_or(0)
    }

    /// Opens a reply's payload, with its attachments.
    pub(super) fn open<'a>(&mut self, attachment_word: u32, payload: &'a [u8]) -> io::Result<ReceivedMessage<'a>> {
        self.connection.open(attachment_word, payload)
    }

    /// Releases shared memory that is not in use, here and in the worker.
    pub(super) fn release_memory(&mut self) {
        if !self.owner.is_this_process() {
            return;
        }
        self.connection.outbox.release_memory();
        self.connection.inbox.release_memory();
        self.rings.send_command(RELEASE_MEMORY);
    }

    /// Whether this process or the worker holds segments for large blocks.
    pub(super) fn holds_memory(&self) -> bool {
        !(self.connection.outbox.is_empty() && self.connection.inbox.is_empty())
    }

    /// Asks a worker that runs nothing to exit. Continues it if a signal has stopped it.
    pub(super) fn ask_to_close(&self) {
        if self.owner.is_this_process() {
            self.rings.send_command(CLOSE);
            self.process.resume();
        }
    }

    /// Ends a worker that runs nothing: it drops its state, and exits.
    pub(super) fn close(self) {
        self.ask_to_close();
        self.close_by(close_deadline());
    }

    /// Waits until a worker that was asked to close has exited; kills it at the deadline.
    pub(super) fn close_by(mut self, deadline: Instant) {
        if !self.owner.is_this_process() {
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
        // Dropping `self` kills the process if it still runs, and reaps it.
    }

    /// Makes sure that the process has ended, and reports how.
    pub(super) fn reap(self, cause: LossCause) -> ExitReport {
        let pid = self.process.id();
        if !self.owner.is_this_process() {
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

/// The deadline of workers that are asked to exit now.
pub(super) fn close_deadline() -> Instant {
    Instant::now() + CLOSE_TIMEOUT
}

fn is_over(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| deadline <= Instant::now())
}

/// Has the spawner thread start the process, and waits for it until the caller is cancelled or its time is up.
fn spawn(command: Command, caller: &mut StartCaller<'_>) -> Result<ChildProcess, StartError> {
    let coming = spawner::spawn(command).map_err(StartError::System)?;
    let deadline = caller.deadline();
    loop {
        match coming.recv_timeout(POLL_INTERVAL) {
            Ok(process) => return process.map_err(StartError::System),
            Err(RecvTimeoutError::Disconnected) => return Err(StartError::System(spawner::thread_ended())),
            // If the process starts later, the spawner cannot send it, drops it, and so kills it.
            Err(RecvTimeoutError::Timeout) if (caller.is_cancelled)() => return Err(StartError::Cancelled),
            Err(RecvTimeoutError::Timeout) if is_over(deadline) => return Err(StartError::TimedOut),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Divides the machine's cores among the workers, for parallel code inside them, unless the user set the variables.
fn share_cores(command: &mut Command, workers: usize) {
    let share = (cpu::cores() / workers.max(1)).max(1).to_string();
    for variable in ["FANFOLD_CPU_THREADS", "POLARS_MAX_THREADS", "RAYON_NUM_THREADS"] {
        if std::env::var_os(variable).is_none() {
            command.env(variable, &share);
        }
    }
}
