//! The parent's side of one worker process: started, asked, and buried.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use super::hello::{Hello, PATIENCE, Unmet, meet};
use super::os::{self, OwnedFd, UnixStream, Waited};
use super::owner::Owner;
use super::parcel::{Mail, Parcel};
use super::ring::{Corrupt, Shared, Words};
use super::serve::Heading;
use super::spawner;
use super::startup::VARIABLE;
use super::wakeups::{CLOSE, TIDY};
use super::wire::Block;

/// How long a worker that is to end may take to drop what it has.
const FAREWELL: Duration = Duration::from_secs(5);
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
pub(super) struct Host {
    /// The process that started it. A copy of that, made by a fork, leaves the worker alone.
    owner: Owner,
    child: Child,
    /// Tells when the process ends; `None` on old kernels, which tell by the socket alone.
    end: Option<OwnedFd>,
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
    /// Starts a worker, and waits until it is ready.
    pub(super) fn start(terms: Terms) -> Result<Self, StartError> {
        let (shared, memory) = Shared::create().map_err(StartError::System)?;
        let (mut socket, theirs) = UnixStream::pair().map_err(StartError::System)?;
        let program = std::env::current_exe().map_err(StartError::System)?;
        let mut command = os::this_program(theirs);
        command.env(VARIABLE, std::process::id().to_string());
        share_cores(&mut command, terms.workers);
        let child = spawner::spawn(command);
        let child = child.map_err(|error| StartError::Spawn(program.display().to_string(), error))?;
        let host = Self {
            owner: Owner::this_process(),
            end: os::watch_process(child.id()),
            child,
            shared,
            mail: Mail::new(socket.try_clone().map_err(StartError::System)?),
            posted: 0,
            ends: VecDeque::new(),
            base: 0,
            terms,
        };
        match meet(&mut socket, &memory, Hello::new(terms.memory_limit.unwrap_or(0))) {
            Ok(()) => Ok(host),
            Err(Unmet::Silent) => Err(StartError::Silent),
            Err(Unmet::Other) => Err(StartError::OtherProgram),
            Err(Unmet::Lost(error)) => Err(StartError::Ended(host.bury(Cause::Gone).to_string(), error)),
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a request; `None` while the ring is full, else its number.
    pub(super) fn post(&mut self, words: Words, payload: &[u8], blocks: &[Block]) -> Result<Option<u32>, Cause> {
        self.check_owner()?;
        self.mail.introduce(blocks).map_err(|_| Cause::Gone)?;
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
        if self.owner.is_here() {
            self.shared.call_worker();
        }
    }

    /// Callers run the user's code between the steps of a call, and that may fork.
    fn check_owner(&self) -> Result<(), Cause> {
        if self.owner.is_here() { Ok(()) } else { Err(Cause::Forked) }
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
                os::wait(&self.mail.socket, self.end.as_ref(), deadline)
            };
            self.shared.parent_sleeps(false);
            let open = match waited {
                Ok(Waited::Socket) => self.mail.collect(),
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
            if matches!(waited, Ok(Waited::TimeUp)) {
                return Event::TimeUp;
            }
        }
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
        if !self.owner.is_here() {
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
        if !self.owner.is_here() {
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

    /// Tells a worker that has nothing to do to end.
    pub(super) fn ask_to_close(&self) {
        if self.owner.is_here() {
            self.shared.order(CLOSE);
        }
    }

    /// Ends a worker that has nothing to do: it drops what it has, and exits.
    pub(super) fn close(mut self) {
        if !self.owner.is_here() {
            return;
        }
        self.ask_to_close();
        let deadline = Instant::now().checked_add(FAREWELL);
        while let Ok(Waited::Socket) = os::wait(&self.mail.socket, self.end.as_ref(), deadline) {
            if !self.mail.collect() {
                self.last_breath();
                break;
            }
        }
        // Dropping it sees to the rest.
    }

    /// Waits for the process to end by itself, for a moment; whether it has.
    fn last_breath(&mut self) -> bool {
        let deadline = Instant::now() + LAST_BREATH;
        loop {
            if let Ok(Some(_)) = self.child.try_wait() {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            match &self.end {
                Some(end) => os::wait_for_end(end, deadline),
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// Sees to it that the process has ended, and says how it has.
    pub(super) fn bury(mut self, cause: Cause) -> Death {
        let pid = self.pid();
        if !self.owner.is_here() {
            return Death { pid, status: None, cause: Cause::Forked, terms: self.terms };
        }
        let by_itself = matches!(cause, Cause::Gone) && self.last_breath();
        if !by_itself {
            let _ = self.child.kill();
        }
        let status = self.child.wait().ok();
        Death { pid, status: status.filter(|_| by_itself || matches!(cause, Cause::Killed)), cause, terms: self.terms }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Nothing of it must stay behind. Both do nothing where the process was waited for.
        if self.owner.is_here() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Workers share the machine: what is parallel inside of one gets its share of the cores, unless the user said how many.
fn share_cores(command: &mut Command, workers: usize) {
    let share = (crate::config::cores() / workers.max(1)).max(1).to_string();
    for variable in ["FANFOLD_CPU_THREADS", "POLARS_MAX_THREADS", "RAYON_NUM_THREADS"] {
        if std::env::var_os(variable).is_none() {
            command.env(variable, &share);
        }
    }
}

/// How a worker ended.
pub(super) struct Death {
    pub(super) pid: u32,
    /// How its process ended, if that was its own doing.
    status: Option<ExitStatus>,
    cause: Cause,
    terms: Terms,
}

impl Death {
    pub(super) fn signal(&self) -> Option<i32> {
        self.status.and_then(os::signal_of)
    }

    pub(super) fn code(&self) -> Option<i32> {
        self.status.and_then(|status| status.code())
    }
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.signal(), self.code()) {
            (Some(signal), _) => {
                write!(f, "it was killed by {} (signal {signal})", os::signal_name(signal))?;
                match self.terms.memory_limit {
                    Some(limit) if signal == os::ABORT => write!(f, "; its memory limit is {limit} bytes"),
                    _ => Ok(()),
                }
            }
            (None, Some(code)) => write!(f, "it exited with code {code}"),
            (None, None) => f.write_str(match self.cause {
                Cause::Gone => "it closed its connection to the parent",
                Cause::Corrupt => {
                    "what it sent cannot be read: it wrote into memory that was not its own, or this process may open \
                     no more files"
                }
                Cause::Killed => "it was killed",
                Cause::Forked => {
                    "it belongs to the process that this one was forked from: start the program anew (exec) after a fork"
                }
            }),
        }
    }
}

/// Why there is no worker.
#[derive(Debug)]
pub(super) enum StartError {
    System(io::Error),
    Spawn(String, io::Error),
    Silent,
    OtherProgram,
    Ended(String, io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => write!(
                f,
                "the system refused what a worker process needs ({error}): close other files, or raise its limits"
            ),
            Self::Spawn(program, error) => write!(f, "the worker process `{program}` could not be started: {error}"),
            Self::Silent => write!(
                f,
                "the worker process did not answer within {} s: `fanfold::init()` must come first in `main`",
                PATIENCE.as_secs()
            ),
            Self::OtherProgram => f.write_str("the worker process is another build of this program"),
            Self::Ended(how, error) => write!(
                f,
                "the worker process ended before it was ready ({how}; {error}): `fanfold::init()` must come first in \
                 `main`"
            ),
        }
    }
}
