//! The parent's side of one worker process: started, asked, and buried.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use super::codec::Block;
use super::handshake::{Hello, PATIENCE, Unmet, meet};
use super::message::{Mail, Parcel};
use super::os::{self, UnixStream, Waited};
use super::serve::Heading;
use super::spawner;
use super::start_limit::{Caller, Starts};
use super::startup::VARIABLE;
use super::worker_slot::Running;
use crate::process::os::pidfd::{Exit, Process};
use crate::process::os::refusal::{self, Refused, Step};
use crate::process::transport::doorbell::{CLOSE, TIDY};
use crate::process::transport::ring::{Corrupt, Shared, Words};
use crate::sys::cpu;
use crate::sys::owner::Owner;

/// How long a worker that is to end may take to drop what it has.
const FAREWELL: Duration = Duration::from_secs(5);
/// How often a wait for the system to start a process looks whether its call was cancelled.
const GLANCE: Duration = Duration::from_millis(20);
/// How long a process takes to end once its sockets are closed.
const LAST_BREATH: Duration = Duration::from_millis(500);

/// What a pool wants of its workers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terms {
    /// Bytes of private memory that each may have.
    pub(crate) memory_limit: Option<u64>,
    /// Tasks after which each is replaced.
    pub(crate) max_tasks: Option<u64>,
    /// How many there are, to share the machine's cores among.
    pub(crate) workers: usize,
}

/// A worker process.
pub(crate) struct Host {
    /// The process that started it. A copy of that, made by a fork, leaves the worker alone.
    owner: Owner,
    /// Dropping the last handle kills the process and waits for it.
    process: Arc<Process>,
    /// Whether it has begun a call, so that its start has not failed.
    pub(super) proven: bool,
    /// How many starts of its pool had failed in a row before its own.
    pub(super) failed_before: u32,
    shared: Shared,
    pub(super) mail: Mail,
    /// Requests posted so far, modulo 2^32 as the ring counts.
    posted: u32,
    /// Position in the ring behind each request that has not been answered, and its number.
    ends: VecDeque<(u32, u32)>,
    /// Position behind the last answered one.
    base: u32,
    terms: Terms,
}

/// Why a worker cannot be asked any more.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cause {
    /// It ended, or closed its socket.
    Gone,
    /// What it wrote cannot be.
    Corrupt,
    /// Its task has run out of time, or was cancelled.
    Killed,
    /// It is the worker of another process, which this one was forked from.
    Forked,
    /// The system did not let descriptors through to it: the number of the error.
    Unsent(i32),
}

/// How long a wait may go without noticing that its worker has ended.
const DOZE: Duration = Duration::from_millis(2);

/// What a wait has found.
pub(super) enum Event {
    Reply,
    /// The worker has begun the request that was asked about.
    Begun,
    TimeUp,
    Lost(Cause),
}

impl Host {
    /// Starts a worker, and waits until it is ready. Whichever step fails, nothing of it stays behind.
    pub(super) fn start(terms: Terms, caller: &mut Caller<'_>, starts: &Starts) -> Result<Self, StartError> {
        let deadline = caller.deadline();
        let (shared, memory) = Shared::create().map_err(StartError::System)?;
        let pair = UnixStream::pair().map_err(|error| Refused::error(Step::Sockets, error));
        let (socket, theirs) = pair.map_err(StartError::System)?;
        let mut command = os::this_program(theirs);
        command.env(VARIABLE, std::process::id().to_string());
        share_cores(&mut command, terms.workers);
        let process = Arc::new(spawn(command, caller)?);
        // Until the worker is ready, cancelling kills it.
        let starting = caller.task.map(|task| Running::enter(task, &process));
        if !starts.keep(&process) || (caller.is_stopped)() {
            return Err(StartError::Stopped);
        }
        let met = meet(&socket, Some(&process), &memory, Hello::new(terms.memory_limit.unwrap_or(0)), deadline);
        drop(starting);
        let host = Self {
            owner: Owner::this_process(),
            process,
            proven: false,
            failed_before: caller.before,
            shared,
            mail: Mail::new(socket),
            posted: 0,
            ends: VecDeque::new(),
            base: 0,
            terms,
        };
        match met {
            Ok(()) => Ok(host),
            Err(_) if (caller.is_stopped)() => Err(StartError::Stopped),
            Err(Unmet::Silent) if is_over(deadline) => Err(StartError::TimeUp),
            Err(Unmet::Silent) => Err(StartError::Silent),
            Err(Unmet::Other) => Err(StartError::OtherProgram),
            Err(Unmet::Refused(why)) => Err(StartError::Refused(why)),
            Err(Unmet::Lost(error)) => Err(StartError::Ended(host.bury(Cause::Gone), error)),
        }
    }

    pub(super) fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// Sends a request; `None` while the ring is full, else its number.
    pub(super) fn post(&mut self, words: Words, payload: &[u8], blocks: &[Block]) -> Result<Option<u32>, Cause> {
        self.check_owner()?;
        self.mail.introduce(blocks).map_err(|error| match (error.kind(), error.raw_os_error()) {
            (io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset, _) | (_, None) => Cause::Gone,
            (_, Some(number)) => Cause::Unsent(number),
        })?;
        let Some(end) = self.shared.post(words, payload).map_err(|Corrupt| Cause::Corrupt)? else {
            return Ok(None);
        };
        let number = self.posted;
        self.posted = number.wrapping_add(1);
        self.ends.push_back((number, end));
        Ok(Some(number))
    }

    /// Wakes the worker for what was posted.
    pub(super) fn call(&self) {
        if self.owner.is_this_process() {
            self.shared.call_worker();
        }
    }

    /// Callers run the user's code between the steps of a call, and that may fork.
    fn check_owner(&self) -> Result<(), Cause> {
        if self.owner.is_this_process() { Ok(()) } else { Err(Cause::Forked) }
    }

    /// Whether the worker has begun the request of this number.
    pub(super) fn has_begun(&self, number: u32) -> bool {
        let first = self.ends.front().map_or(self.posted, |(number, _)| *number);
        // The numbers wrap around: differences tell. What cannot be is a worker's that wrote where it must not: while it
        // ran something.
        let begun = self.shared.begun().wrapping_sub(first);
        begun > number.wrapping_sub(first) || begun > self.posted.wrapping_sub(first)
    }

    /// Takes back the requests that the worker has not begun; gives the number of the first of them.
    pub(super) fn take_back(&mut self) -> u32 {
        let (ends, base) = (&self.ends, self.base);
        let begun = self.shared.take_back(|begun| {
            let last = ends.iter().rev().find(|(number, _)| begun.wrapping_sub(*number).cast_signed() > 0);
            last.map_or(base, |(_, end)| *end)
        });
        self.ends.retain(|(number, _)| begun.wrapping_sub(*number).cast_signed() > 0);
        self.posted = begun;
        begun
    }

    /// The oldest request was answered.
    pub(super) fn answered(&mut self) {
        if let Some((_, end)) = self.ends.pop_front() {
            self.base = end;
        }
    }

    /// Waits for a reply; with `request`, also until the worker has begun that.
    ///
    /// Most replies come at once, and a wake-up through memory costs half of one through a socket. So it dozes first, and
    /// listens for the worker's end after that.
    pub(super) fn wait(&mut self, deadline: Option<Instant>, request: Option<u32>) -> Event {
        if let Err(cause) = self.check_owner() {
            return Event::Lost(cause);
        }
        let left = deadline.map_or(DOZE, |deadline| deadline.saturating_duration_since(Instant::now()));
        self.shared
            .doze(left.min(DOZE), || self.shared.has_reply() || request.is_some_and(|number| self.has_begun(number)));
        loop {
            if self.shared.has_reply() {
                return Event::Reply;
            }
            if request.is_some_and(|number| self.has_begun(number)) {
                return Event::Begun;
            }
            self.shared.parent_sleeps(true);
            let waited = if self.shared.has_reply() || request.is_some_and(|number| self.has_begun(number)) {
                Ok(Waited::TimeUp)
            } else {
                self.process.listen(&self.mail.socket, deadline)
            };
            self.shared.parent_sleeps(false);
            let open = match waited {
                Ok(Waited::Socket) => match self.mail.collect() {
                    Ok(open) => open,
                    Err(_) => return Event::Lost(Cause::Corrupt),
                },
                Ok(Waited::TimeUp) => true,
                Ok(Waited::Ended) | Err(_) => false,
            };
            if self.shared.has_reply() {
                return Event::Reply;
            }
            if open && request.is_some_and(|number| self.has_begun(number)) {
                return Event::Begun;
            }
            if !open {
                return Event::Lost(Cause::Gone);
            }
            // The worker may send without end: then the socket is ready however late it is.
            if matches!(waited, Ok(Waited::TimeUp)) || deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Event::TimeUp;
            }
        }
    }

    /// Whether a reply waits.
    pub(super) fn has_reply(&self) -> bool {
        self.shared.has_reply()
    }

    /// Takes a reply's bytes, if there is one. It must be to the oldest request that is not answered.
    pub(super) fn reply(&mut self, payload: &mut Vec<u8>) -> Result<Option<Heading>, Cause> {
        self.check_owner()?;
        let words = self.shared.take_reply(payload).map_err(|Corrupt| Cause::Corrupt)?;
        self.shared.tell_of_room();
        let Some(heading) = words.map(Heading::from_words) else { return Ok(None) };
        match self.ends.front() {
            Some((request, _)) if *request == heading.request => Ok(Some(heading)),
            _ => Err(Cause::Corrupt),
        }
    }

    /// Takes the results that a worker had finished of a reply when it ended; how many.
    pub(super) fn last_words(&self, payload: &mut Vec<u8>) -> u32 {
        if !self.owner.is_this_process() {
            return 0;
        }
        self.shared.take_open(payload).unwrap_or(0)
    }

    /// Opens a reply's bytes.
    pub(super) fn open<'a>(&mut self, word: u32, payload: &'a [u8]) -> io::Result<Parcel<'a>> {
        self.mail.open(word, payload)
    }

    /// Gives memory back that is not in use, here and there.
    pub(super) fn tidy(&mut self) {
        if !self.owner.is_this_process() {
            return;
        }
        self.mail.outbox.tidy();
        self.mail.inbox.tidy();
        self.shared.order(TIDY);
    }

    /// Whether there is shared memory for large blocks, of this side or of the worker's.
    pub(super) fn holds_memory(&self) -> bool {
        !(self.mail.outbox.is_empty() && self.mail.inbox.is_empty())
    }

    /// Tells a worker that has nothing to do to end; one that a signal has stopped goes on, to do so.
    pub(super) fn ask_to_close(&self) {
        if self.owner.is_this_process() {
            self.shared.order(CLOSE);
            self.process.go_on();
        }
    }

    /// Ends a worker that has nothing to do: it drops what it has, and exits.
    pub(super) fn close(self) {
        self.ask_to_close();
        self.close_by(farewell());
    }

    /// Waits until a worker that was asked to close has ended, until the deadline at most; then it is killed.
    pub(super) fn close_by(mut self, deadline: Instant) {
        if !self.owner.is_this_process() {
            return;
        }
        while let Ok(Waited::Socket) = self.process.listen(&self.mail.socket, Some(deadline)) {
            if !matches!(self.mail.collect(), Ok(true)) {
                self.process.wait(deadline.min(Instant::now() + LAST_BREATH));
                break;
            }
            if is_over(Some(deadline)) {
                break;
            }
        }
        // Dropping it sees to the rest.
    }

    /// Sees to it that the process has ended, and says how it has.
    pub(super) fn bury(self, cause: Cause) -> Death {
        let pid = self.process.id();
        if !self.owner.is_this_process() {
            return Death { pid, exit: None, cause: Cause::Forked, terms: self.terms };
        }
        let by_itself = match cause {
            Cause::Gone => self.process.wait(Instant::now() + LAST_BREATH).is_some(),
            Cause::Corrupt | Cause::Killed | Cause::Forked | Cause::Unsent(_) => false,
        };
        if !by_itself {
            self.process.kill();
        }
        let exit = self.process.wait(Instant::now() + FAREWELL);
        Death { pid, exit: exit.filter(|_| by_itself || matches!(cause, Cause::Killed)), cause, terms: self.terms }
    }
}

/// Until when workers that are asked to close now may take.
pub(super) fn farewell() -> Instant {
    Instant::now() + FAREWELL
}

fn is_over(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| deadline <= Instant::now())
}

/// Has the process started, and waits for it; no longer than the caller may.
fn spawn(command: Command, caller: &mut Caller<'_>) -> Result<Process, StartError> {
    let coming = spawner::spawn(command).map_err(StartError::System)?;
    let deadline = caller.deadline();
    loop {
        match coming.recv_timeout(GLANCE) {
            Ok(process) => return process.map_err(StartError::System),
            Err(RecvTimeoutError::Disconnected) => return Err(StartError::System(spawner::gone())),
            // What comes later is killed: nobody receives it.
            Err(RecvTimeoutError::Timeout) if (caller.is_stopped)() => return Err(StartError::Stopped),
            Err(RecvTimeoutError::Timeout) if is_over(deadline) => return Err(StartError::TimeUp),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Workers share the machine: what is parallel inside of one gets its share of the cores, unless the user said how many.
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
pub(crate) struct Death {
    pub(super) pid: u32,
    /// How its process ended, if that was its own doing.
    exit: Option<Exit>,
    cause: Cause,
    terms: Terms,
}

impl Death {
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

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.signal(), self.code()) {
            (Some(signal), _) => {
                write!(f, "it was killed by {} (signal {signal})", os::signal_name(signal))?;
                match self.terms.memory_limit {
                    Some(limit) if signal == os::ABORT => write!(
                        f,
                        "; its memory limit is {limit} bytes (`memory_limit` of its pool): raise it if the task, its \
                         arguments and its result need more, or send less at once"
                    ),
                    _ => Ok(()),
                }
            }
            (None, Some(code)) => write!(f, "it exited with code {code}"),
            (None, None) if self.exit == Some(Exit::Unknown) && matches!(self.cause, Cause::Gone) => f.write_str(
                "it ended, and how is unknown: another part of this program has waited for it (`waitpid(-1)`), or \
                 ignores SIGCHLD, so that the kernel keeps no exit status",
            ),
            (None, None) => match self.cause {
                Cause::Gone => f.write_str("it closed its connection to the parent"),
                Cause::Corrupt => f.write_str(
                    "what it sent cannot be read, or nobody asked for it: it wrote into memory that was not its own, or \
                     this process may open no more files (RLIMIT_NOFILE, `ulimit -n`) or has no address space left \
                     (RLIMIT_AS, `ulimit -v`)",
                ),
                Cause::Killed => f.write_str("it was killed"),
                Cause::Forked => f.write_str(
                    "it belongs to the process that this one was forked from: start the program anew (exec) after a fork",
                ),
                Cause::Unsent(number) => Refused::error(Step::Send, io::Error::from_raw_os_error(number)).fmt(f),
            },
        }
    }
}

/// Why there is no worker.
#[derive(Debug)]
pub(super) enum StartError {
    /// The caller was cancelled.
    Stopped,
    /// The caller's time is up.
    TimeUp,
    System(io::Error),
    Silent,
    OtherProgram,
    /// The worker says why it cannot start.
    Refused(String),
    Ended(Death, io::Error),
}

impl StartError {
    /// Whether the next start may succeed.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::System(error) => refusal::may_pass(error),
            Self::Stopped | Self::TimeUp | Self::Refused(_) | Self::Ended(..) => true,
            Self::Silent | Self::OtherProgram => false,
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const INIT: &str =
            "`fanfold::init()` must come first in `main`, and what the program does before that must end";
        match self {
            Self::Stopped => f.write_str("its call was cancelled"),
            Self::TimeUp => write!(f, "a worker process did not become ready within its call's time limit: {INIT}"),
            Self::System(error) => write!(f, "a worker process could not be started: {error}"),
            Self::Silent => {
                write!(f, "the worker process did not answer within {} s: {INIT}", PATIENCE.as_secs())
            }
            Self::OtherProgram => f.write_str("the worker process is another build of this program"),
            Self::Refused(why) => write!(f, "the worker process could not start: {why}"),
            // A program without `init()` runs to its end, or closes what it takes for standard input.
            Self::Ended(death, error) if death.signal().is_none() => write!(
                f,
                "the worker process ended before it was ready ({death}; {error}): {INIT}; if it does, what the worker \
                 wrote to standard error may say more"
            ),
            Self::Ended(death, _) => write!(f, "the worker process ended before it was ready: {death}"),
        }
    }
}
