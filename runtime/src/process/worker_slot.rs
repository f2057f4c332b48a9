//! A seat: whoever is on it has a worker process for its calls.
//!
//! The pool's queue, its permits and its task slots are those of every pool. What is different is that a thread of it
//! runs nothing itself: it sends the call to a worker, and waits for what comes back.

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::child::{self, Cause, Death, Event, Host, StartError, Terms};
use super::codec::{Block, Decoder, Encoder, Misfit, contained};
use super::message::pack;
use super::registry::Entry;
use super::serve::{Heading, status};
use super::start_limit::{Caller, NoWorker, Starts};
use crate::error::{Payload, TaskError};
use crate::process::os::pidfd::Process;
use crate::sys::owner::{Owner, PerProcess};
use crate::sys::reserve;

thread_local! {
    /// Outlives the destructors of other thread-locals, which may call functions. Whoever is on a seat leaves it.
    static SEAT: ManuallyDrop<RefCell<Option<Box<Seat>>>> = const { ManuallyDrop::new(RefCell::new(None)) };
}

/// Puts this thread on a seat; gives the one that it was on.
pub(crate) fn sit(seat: Option<Box<Seat>>) -> Option<Box<Seat>> {
    SEAT.with(|place| place.replace(seat))
}

pub(crate) struct Seat {
    /// The process whose pool it is part of.
    owner: Owner,
    terms: Terms,
    /// Its pool's.
    pub(crate) starts: Arc<Starts>,
    /// Whether its last call had no worker as none could be started.
    unstarted: bool,
    pub(crate) host: Option<Host>,
    /// Calls of this worker.
    pub(crate) served: u64,
    /// What a call has taken of late, where several are on their way.
    pub(crate) pace: Duration,
    request: Vec<u8>,
    pub(crate) reply: Vec<u8>,
}

/// The pace of a worker that nothing is known of: a few calls are sent ahead, and taken back if need be.
const FIRST_PACE: Duration = Duration::from_micros(25);

/// Lends this thread's seat to `work`, which may end tasks meanwhile.
///
/// # Panics
///
/// If this thread is on none.
pub(crate) fn with_own(work: impl FnOnce(&mut Seat)) {
    let mut seat = SEAT.with(|place| place.take()).expect("process pools run calls on seats");
    work(&mut seat);
    SEAT.with(|place| place.replace(Some(seat)));
}

impl Seat {
    /// A seat whose worker starts with the first call.
    pub(crate) fn new(terms: Terms, owner: Owner, starts: Arc<Starts>) -> Self {
        Self {
            owner,
            terms,
            starts,
            unstarted: false,
            host: None,
            served: 0,
            pace: FIRST_PACE,
            request: Vec::new(),
            reply: Vec::new(),
        }
    }

    /// Whether it has a worker for one more call.
    pub(crate) fn is_ready(&self) -> bool {
        self.host.is_some() && self.has_room()
    }

    /// Whether it and its worker keep shared memory for large blocks.
    pub(crate) fn holds_memory(&self) -> bool {
        self.host.as_ref().is_some_and(Host::holds_memory)
    }

    /// Gives memory back that is not in use.
    pub(crate) fn tidy(&mut self) {
        if let Some(host) = &mut self.host {
            host.tidy();
        }
    }

    /// Tells its worker to end, without waiting for that.
    pub(crate) fn ask_to_close(&self) {
        if let Some(host) = &self.host {
            host.ask_to_close();
        }
    }

    /// Ends its worker.
    pub(crate) fn close(self) {
        if let Some(host) = self.host {
            host.close();
        }
    }

    /// Waits until its worker, which was asked to close, has ended; until the deadline at most.
    pub(crate) fn close_by(self, deadline: Instant) {
        if let Some(host) = self.host {
            host.close_by(deadline);
        }
    }
}

/// One or several calls of a function.
pub(crate) struct Calls<'a> {
    pub(crate) function: &'static str,
    pub(crate) entry: &'static Entry,
    pub(crate) count: u32,
    /// For the calls together.
    pub(crate) limit: Option<Duration>,
    /// The task that can be cancelled, by the address of its state.
    pub(crate) task: Option<usize>,
    /// Whether the caller's task was cancelled.
    pub(crate) cancelled: fn() -> bool,
    /// What [`series`](super::start_limit::series) was when they were made.
    pub(crate) since: u32,
    /// Writes the arguments of all calls.
    pub(crate) write: &'a dyn Fn(&mut Encoder<'_>) -> Result<(), Misfit>,
    /// Told, where ends of channels are among them, once the worker has them: they are its own now.
    pub(crate) let_go: &'a dyn Fn(),
}

/// Takes the result of the next call: reads it, or is told why that failed.
pub(crate) type Each<'a> = dyn FnMut(Result<&mut Decoder<'_>, Box<TaskError>>) -> Result<(), Misfit> + 'a;

/// Has this seat's worker run calls. Gives each result to `each`, in order; an error is that of the first call that
/// has none, and those behind it were not run.
///
/// # Panics
///
/// If this thread is on none.
pub(crate) fn run(calls: &Calls<'_>, each: &mut Each<'_>) -> Result<(), TaskError> {
    SEAT.with(|seat| seat.borrow_mut().as_mut().expect("process pools run calls on seats").run(calls, each))
}

/// Calls that this seat's worker may still run before it is replaced.
pub(crate) fn room() -> u64 {
    SEAT.with(|place| {
        let seat = place.borrow();
        let seat = seat.as_ref()?;
        let most = seat.terms.max_tasks?;
        Some(if seat.served < most { most - seat.served } else { most })
    })
    .unwrap_or(u64::MAX)
}

/// Whether the last call of this thread's seat had no worker as none could be started.
pub(crate) fn was_unstarted() -> bool {
    SEAT.with(|place| place.borrow().as_ref().is_some_and(|seat| seat.unstarted))
}

impl Seat {
    fn run(&mut self, calls: &Calls<'_>, each: &mut Each<'_>) -> Result<(), TaskError> {
        let mut caller = Caller::new(calls.task, calls.since, calls.limit, &calls.cancelled);
        self.unstarted = false;
        loop {
            match self.attempt(calls, &mut caller, each) {
                Ok(outcome) => return outcome,
                // A worker that was ready for long, and was killed while it was idle, says nothing about starts.
                Err((_, true)) => {}
                Err((death, false)) => {
                    if let Some(why) = self.starts.failed(&mut caller, &self.stillborn(&death), true) {
                        return Err(self.unstarted(calls.function, why));
                    }
                }
            }
        }
    }

    /// The outcome; or how the worker died, if it did before it began, and whether it had begun others.
    fn attempt(
        &mut self,
        calls: &Calls<'_>,
        caller: &mut Caller<'_>,
        each: &mut Each<'_>,
    ) -> Result<Result<(), TaskError>, (Death, bool)> {
        let mut host = match self.host(calls.function, caller) {
            Ok(host) => host,
            Err(error) => return Ok(Err(error)),
        };
        self.request.clear();
        let mut blocks = Vec::new();
        let written = (calls.write)(&mut Encoder {
            bytes: &mut self.request,
            blocks: &mut blocks,
            outbox: Some(&mut host.mail.outbox),
        });
        let packed = written.and_then(|()| pack(&mut self.request, &mut blocks, &mut host.mail.outbox));
        let word = match packed {
            Ok(word) => word,
            Err(Misfit(why)) => {
                host.mail.recall(&blocks);
                // Its worker may never give back what it keeps: the next call gets another one.
                if host.mail.outbox.is_exhausted() {
                    host.bury(Cause::Corrupt);
                } else {
                    self.host = Some(host);
                }
                return Ok(Err(TaskError::wire(calls.function, format!("its arguments could not be sent: {why}"))));
            }
        };
        let running = calls.task.map(|task| Running::enter(task, host.process()));
        if (calls.cancelled)() {
            host.mail.recall(&blocks);
            self.host = Some(host);
            return Ok(Err(TaskError::Cancelled));
        }
        let words = [calls.entry.number(), calls.count, word];
        let mut received = Received { function: calls.function, left: calls.count, error: None, each };
        let deadline = calls.limit.and_then(|limit| Instant::now().checked_add(limit));
        let lost = match host.post(words, &self.request, &blocks) {
            Ok(Some(number)) => {
                host.call();
                let has_ends = blocks.iter().any(|block| matches!(block, Block::Descriptor(_)));
                let let_go = || {
                    blocks.clear();
                    (calls.let_go)();
                };
                let begun = has_ends.then_some((number, let_go));
                let lost = converse(&mut host, deadline, &mut self.reply, &mut received, begun);
                lost.map(|lost| (lost, number))
            }
            // With nothing in flight the ring has room.
            Ok(None) => Some((Lost::Cause(Cause::Corrupt), 0)),
            Err(cause) => Some((Lost::Cause(cause), u32::MAX)),
        };
        self.served += u64::from(calls.count);
        // From here on nobody kills this worker for this task.
        drop(running);
        let Some((lost, number)) = lost else {
            host.answered();
            self.has_begun(&mut host);
            if host.mail.has_surplus() {
                // It sent what nobody asked for: the results are whole, but it gets no more calls.
                host.bury(Cause::Corrupt);
            } else {
                self.host = Some(host);
            }
            return Ok(received.outcome());
        };
        let begun = host.has_begun(number);
        if begun {
            self.has_begun(&mut host);
            received.last_words(&mut host, &mut self.reply);
        }
        let proven = host.proven;
        let death = match lost {
            Lost::Cause(cause) => host.bury(cause),
            Lost::TimeUp => host.bury(Cause::Killed),
        };
        if received.left == 0 {
            return Ok(received.outcome());
        }
        match lost {
            Lost::TimeUp => Ok(Err(TaskError::TimedOut { after: calls.limit.unwrap_or_default() })),
            Lost::Cause(_) if (calls.cancelled)() => Ok(Err(TaskError::Cancelled)),
            Lost::Cause(_) if !begun => Err((death, proven)),
            Lost::Cause(_) => Ok(Err(died(calls.function, &death))),
        }
    }

    /// Whether its worker may run one more call.
    pub(crate) fn has_room(&self) -> bool {
        self.terms.max_tasks.is_none_or(|most| self.served < most)
    }

    /// This seat's worker; started if there is none.
    pub(crate) fn host(&mut self, function: &'static str, caller: &mut Caller<'_>) -> Result<Host, TaskError> {
        if !self.owner.is_this_process() {
            let why = "this process was forked from the one whose pool it is, and has no workers of it: start the program \
                       anew (exec) after a fork, or make a pool of its own";
            return Err(TaskError::worker_died(function, why.into(), None, None));
        }
        if self.terms.max_tasks.is_some_and(|most| self.served >= most)
            && let Some(host) = self.host.take()
        {
            host.ask_to_close();
            host.close_by(caller.deadline().into_iter().fold(child::farewell(), Instant::min));
        }
        if let Some(host) = self.host.take() {
            return Ok(host);
        }
        self.served = 0;
        self.start(caller).map_err(|none| match none {
            NoWorker::Stopped => TaskError::Cancelled,
            NoWorker::TimeUp => TaskError::TimedOut { after: caller.limit.unwrap_or_default() },
            NoWorker::Failed(why) => self.unstarted(function, why),
        })
    }

    /// Starts a worker, again if that fails, as often as the pool's [`Starts`] allow.
    fn start(&self, caller: &mut Caller<'_>) -> Result<Host, NoWorker> {
        loop {
            self.starts.wait_for_turn(caller)?;
            let error = match Host::start(self.terms, caller, &self.starts) {
                Ok(host) => return Ok(host),
                Err(StartError::Stopped) => return Err(NoWorker::Stopped),
                Err(error) => error,
            };
            let given_up = self.starts.failed(caller, &self.limited(error.to_string()), error.may_pass());
            if matches!(error, StartError::TimeUp) {
                return Err(NoWorker::TimeUp);
            }
            if let Some(why) = given_up {
                return Err(NoWorker::Failed(why));
            }
        }
    }

    /// Why a start has failed whose worker was ready, and ended then.
    pub(crate) fn stillborn(&self, death: &Death) -> String {
        self.limited(format!("a worker process ended before it began a call: {death}"))
    }

    /// The cause of a failed start, with the pool's memory limit, which may be too low for a worker.
    fn limited(&self, why: String) -> String {
        match self.terms.memory_limit {
            Some(limit) if !why.contains("memory limit") => {
                format!("with a memory limit of {limit} bytes (`memory_limit` of its pool), {why}")
            }
            _ => why,
        }
    }

    /// The error of a call that has no worker.
    pub(crate) fn unstarted(&mut self, function: &'static str, why: String) -> TaskError {
        self.unstarted = true;
        TaskError::worker_died(function, why, None, None)
    }

    /// A worker has begun a call.
    pub(crate) fn has_begun(&self, host: &mut Host) {
        if !host.proven {
            host.proven = true;
            self.starts.succeeded();
        }
    }
}

pub(crate) fn died(function: &'static str, death: &Death) -> TaskError {
    let message = format!("its worker process {} is gone: {death}", death.pid);
    TaskError::worker_died(function, message, death.signal(), death.code())
}

/// The error that a reply tells of.
pub(crate) fn read_failure(function: &'static str, status: u32, input: &mut Decoder<'_>) -> Option<TaskError> {
    let (message, place): (String, String) = input.value().ok()?;
    failure(function, status, message, place)
}

/// Why a conversation has ended early.
#[derive(Clone, Copy)]
enum Lost {
    Cause(Cause),
    TimeUp,
}

/// Receives replies until all calls of a request are answered. Tells once the worker has begun it, if that is asked.
fn converse(
    host: &mut Host,
    deadline: Option<Instant>,
    reply: &mut Vec<u8>,
    received: &mut Received<'_>,
    mut begun: Option<(u32, impl FnOnce())>,
) -> Option<Lost> {
    // Whether a reply was said to be there and was not.
    let mut passed = false;
    loop {
        match host.wait(deadline, begun.as_ref().map(|(number, _)| *number)) {
            Event::Reply => {}
            Event::Begun => {
                if let Some((_, tell)) = begun.take() {
                    tell();
                }
                continue;
            }
            Event::TimeUp => return Some(Lost::TimeUp),
            Event::Lost(cause) => return Some(Lost::Cause(cause)),
        }
        match host.reply(reply) {
            Ok(Some(heading)) => {
                if received.take(host, heading, reply).is_none() {
                    return Some(Lost::Cause(Cause::Corrupt));
                }
            }
            // Once, at the end of the ring; a worker could do so for ever.
            Ok(None) if !passed => {
                passed = true;
                continue;
            }
            Ok(None) => return Some(Lost::Cause(Cause::Corrupt)),
            Err(cause) => return Some(Lost::Cause(cause)),
        }
        passed = false;
        if received.left == 0 {
            return None;
        }
        // The worker may reply without end.
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Some(Lost::TimeUp);
        }
    }
}

/// What has come back so far.
struct Received<'a> {
    function: &'static str,
    /// Calls that are not answered.
    left: u32,
    error: Option<TaskError>,
    each: &'a mut Each<'a>,
}

impl Received<'_> {
    /// Takes a reply; `None` if it cannot be one.
    fn take(&mut self, host: &mut Host, heading: Heading, payload: &[u8]) -> Option<()> {
        let Heading { status, count, word, .. } = heading;
        let mut parcel = host.open(word, payload).ok()?;
        let mut input = parcel.decoder();
        if status != status::DONE {
            let error = read_failure(self.function, status, &mut input)?;
            self.left = 0;
            self.error.get_or_insert(error);
            return Some(());
        }
        self.results(count, &mut input)
    }

    fn results(&mut self, count: u32, input: &mut Decoder<'_>) -> Option<()> {
        // A worker that replies without results would do so for ever.
        let count = Some(count).filter(|count| *count > 0)?;
        self.left = self.left.checked_sub(count)?;
        let mut taken = 0;
        // One that cannot be read has a length all the same: those behind it can.
        while taken < count {
            let read = contained(self.function, || {
                while taken < count {
                    taken += 1;
                    (self.each)(Ok(input))?;
                }
                Ok(())
            });
            if let Err(Misfit(why)) = read {
                let error = TaskError::wire(self.function, format!("its result could not be read: {why}"));
                (self.each)(Err(Box::new(error))).ok()?;
            }
        }
        input.is_at_end().then_some(())
    }

    /// Takes what a worker that died had finished.
    fn last_words(&mut self, host: &mut Host, reply: &mut Vec<u8>) {
        while self.left > 0
            && let Ok(Some(heading)) = host.reply(reply)
        {
            if self.take(host, heading, reply).is_none() {
                return;
            }
        }
        let count = host.last_words(reply);
        if count > 0 && count <= self.left {
            self.results(count, &mut Decoder::new(reply, Vec::new()));
        }
    }

    fn outcome(self) -> Result<(), TaskError> {
        self.error.map_or(Ok(()), Err)
    }
}

/// The error that a reply tells of.
fn failure(function: &'static str, status: u32, message: String, place: String) -> Option<TaskError> {
    Some(match status {
        status::PANICKED => {
            let payload = Payload::new(Box::new(message.clone()));
            let location = Some(place).filter(|place| !place.is_empty());
            TaskError::Panicked { message, function, location, payload }
        }
        status::INIT => TaskError::Init { message },
        status::MISFIT => TaskError::wire(function, message),
        _ => return None,
    })
}

/// A task, and the worker that runs it or starts for it.
type OnWorker = (usize, Arc<Process>);

/// Which worker runs which task, for those who cancel one.
static RUNNING: PerProcess<Mutex<Vec<OnWorker>>> = PerProcess::new();

fn running() -> MutexGuard<'static, Vec<OnWorker>> {
    RUNNING.get().lock().unwrap_or_else(PoisonError::into_inner)
}

/// A task on a worker; it can be stopped until this is dropped.
pub(crate) struct Running(usize);

impl Running {
    pub(crate) fn enter(task: usize, process: &Arc<Process>) -> Self {
        reserve::lock_with_capacity(running, |running| running, 1).push((task, Arc::clone(process)));
        Self(task)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = running();
        let place = running.iter().position(|(task, _)| *task == self.0);
        let entry = place.map(|place| running.swap_remove(place));
        drop(running);
        // The last handle of a process waits for its end: not under the lock.
        drop(entry);
    }
}

/// Kills the worker that runs a task, if one does.
pub(crate) fn stop(task: usize) {
    let running = running();
    if let Some((_, process)) = running.iter().find(|(running, _)| *running == task) {
        // Under the lock: while the task is in the list its worker has not gone on to the next one.
        process.kill();
    }
}
