//! A slot: whoever is on it has a worker process for its request.
//!
//! The pool's queue, its permits and its task slots are those of every pool. What is different is that a thread of it
//! runs nothing itself: it sends the call to a worker, and waits for what comes back.

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::child::{self, Child, ExitReport, LossCause, StartError, WaitEvent, WorkerLimits};
use super::codec::{Attachment, CodecError, Decoder, Encoder, catch_codec_panic};
use super::message::prepend_attachment_table;
use super::registry::Entry;
use super::running_tasks::RunningTask;
use super::serve::{ReplyHeader, status};
use super::start_limit::{NoWorker, StartCaller, StartLimiter};
use crate::error::{Payload, TaskError};
use crate::sys::owner::Owner;

thread_local! {
    /// Outlives the destructors of other thread-locals, which may call functions. Whoever is on a slot leaves it.
    static CURRENT_SLOT: ManuallyDrop<RefCell<Option<Box<WorkerSlot>>>> = const { ManuallyDrop::new(RefCell::new(None)) };
}

/// Puts this thread on a slot; gives the one that it was on.
pub(crate) fn replace_current(slot: Option<Box<WorkerSlot>>) -> Option<Box<WorkerSlot>> {
    CURRENT_SLOT.with(|place| place.replace(slot))
}

pub(crate) struct WorkerSlot {
    /// The process whose pool it is part of.
    owner: Owner,
    limits: WorkerLimits,
    /// Its pool's.
    pub(crate) limiter: Arc<StartLimiter>,
    /// Whether its last call had no worker as none could be started.
    start_failed: bool,
    pub(crate) child: Option<Child>,
    /// CallRequest of this worker.
    pub(crate) served: u64,
    /// What a call has taken of late, where several are on their way.
    pub(crate) call_time: Duration,
    request: Vec<u8>,
    pub(crate) reply: Vec<u8>,
}

/// The call_time of a worker that nothing is known of: a few request are sent ahead, and taken back if need be.
const INITIAL_CALL_TIME: Duration = Duration::from_micros(25);

/// Lends this thread's slot to `work`, which may end tasks meanwhile.
///
/// # Panics
///
/// If this thread is on none.
pub(crate) fn with_current(work: impl FnOnce(&mut WorkerSlot)) {
    let mut slot =
        CURRENT_SLOT.with(|place| place.take()).expect("a thread of a process pool runs calls on a worker slot");
    work(&mut slot);
    CURRENT_SLOT.with(|place| place.replace(Some(slot)));
}

impl WorkerSlot {
    /// A slot whose worker limiter with the first call.
    pub(crate) fn new(limits: WorkerLimits, owner: Owner, limiter: Arc<StartLimiter>) -> Self {
        Self {
            owner,
            limits,
            limiter,
            start_failed: false,
            child: None,
            served: 0,
            call_time: INITIAL_CALL_TIME,
            request: Vec::new(),
            reply: Vec::new(),
        }
    }

    /// Whether it has a worker for one more call.
    pub(crate) fn is_ready(&self) -> bool {
        self.child.is_some() && self.has_tasks_left()
    }

    /// Whether it and its worker keep shared memory for large attachments.
    pub(crate) fn holds_memory(&self) -> bool {
        self.child.as_ref().is_some_and(Child::holds_memory)
    }

    /// Gives memory back that is not in use.
    pub(crate) fn release_memory(&mut self) {
        if let Some(child) = &mut self.child {
            child.release_memory();
        }
    }

    /// Tells its worker to end, without waiting for that.
    pub(crate) fn ask_to_close(&self) {
        if let Some(child) = &self.child {
            child.ask_to_close();
        }
    }

    /// Ends its worker.
    pub(crate) fn close(self) {
        if let Some(child) = self.child {
            child.close();
        }
    }

    /// Waits until its worker, which was asked to close, has ended; until the deadline at max_tasks.
    pub(crate) fn close_by(self, deadline: Instant) {
        if let Some(child) = self.child {
            child.close_by(deadline);
        }
    }
}

/// One or several request of a function.
pub(crate) struct CallRequest<'a> {
    pub(crate) function: &'static str,
    pub(crate) entry: &'static Entry,
    pub(crate) count: u32,
    /// For the request together.
    pub(crate) limit: Option<Duration>,
    /// The task that can be cancelled, by the address of its state.
    pub(crate) task: Option<usize>,
    /// Whether the caller's task was cancelled.
    pub(crate) cancelled: fn() -> bool,
    /// What [`series`](super::start_limit::series) was when they were made.
    pub(crate) start_series: u32,
    /// Writes the arguments of all request.
    pub(crate) write: &'a dyn Fn(&mut Encoder<'_>) -> Result<(), CodecError>,
    /// Told, where ends of channels are among them, once the worker has them: they are its own now.
    pub(crate) on_received: &'a dyn Fn(),
}

/// Takes the result of the next call: reads it, or is told why that failed.
pub(crate) type OnResult<'a> = dyn FnMut(Result<&mut Decoder<'_>, Box<TaskError>>) -> Result<(), CodecError> + 'a;

/// Has this slot's worker run request. Gives on_result result to `on_result`, in order; an error is that of the first call that
/// has none, and those behind it were not run.
///
/// # Panics
///
/// If this thread is on none.
pub(crate) fn run(request: &CallRequest<'_>, on_result: &mut OnResult<'_>) -> Result<(), TaskError> {
    CURRENT_SLOT.with(|slot| {
        slot.borrow_mut()
            .as_mut()
            .expect("a thread of a process pool runs calls on a worker slot")
            .run(request, on_result)
    })
}

/// CallRequest that this slot's worker may still run before it is replaced.
pub(crate) fn remaining_tasks() -> u64 {
    CURRENT_SLOT
        .with(|place| {
            let slot = place.borrow();
            let slot = slot.as_ref()?;
            let max_tasks = slot.limits.max_tasks?;
            Some(if slot.served < max_tasks { max_tasks - slot.served } else { max_tasks })
        })
        .unwrap_or(u64::MAX)
}

/// Whether the last call of this thread's slot had no worker as none could be started.
pub(crate) fn last_start_failed() -> bool {
    CURRENT_SLOT.with(|place| place.borrow().as_ref().is_some_and(|slot| slot.start_failed))
}

impl WorkerSlot {
    fn run(&mut self, request: &CallRequest<'_>, on_result: &mut OnResult<'_>) -> Result<(), TaskError> {
        let mut caller = StartCaller::new(request.task, request.start_series, request.limit, &request.cancelled);
        self.start_failed = false;
        loop {
            match self.attempt(request, &mut caller, on_result) {
                Ok(outcome) => return outcome,
                // A worker that was ready for long, and was killed while it was idle, says nothing about limiter.
                Err((_, true)) => {}
                Err((report, false)) => {
                    if let Some(why) = self.limiter.failed(&mut caller, &self.failed_start(&report), true) {
                        return Err(self.start_failed(request.function, why));
                    }
                }
            }
        }
    }

    /// The outcome; or how the worker worker_died_error, if it did before it began, and whether it had begun others.
    fn attempt(
        &mut self,
        request: &CallRequest<'_>,
        caller: &mut StartCaller<'_>,
        on_result: &mut OnResult<'_>,
    ) -> Result<Result<(), TaskError>, (ExitReport, bool)> {
        let mut child = match self.take_child(request.function, caller) {
            Ok(child) => child,
            Err(error) => return Ok(Err(error)),
        };
        self.request.clear();
        let mut attachments = Vec::new();
        let written = (request.write)(&mut Encoder {
            bytes: &mut self.request,
            attachments: &mut attachments,
            outbox: Some(&mut child.connection.outbox),
        });
        let packed = written
            .and_then(|()| prepend_attachment_table(&mut self.request, &mut attachments, &mut child.connection.outbox));
        let attachment_word = match packed {
            Ok(attachment_word) => attachment_word,
            Err(CodecError(why)) => {
                child.connection.recall(&attachments);
                // Its worker may never give back what it keeps: the next call gets another one.
                if child.connection.outbox.is_full() {
                    child.reap(LossCause::Corrupt);
                } else {
                    self.child = Some(child);
                }
                return Ok(Err(TaskError::wire(request.function, format!("its arguments could not be sent: {why}"))));
            }
        };
        let running = request.task.map(|task| RunningTask::enter(task, child.process()));
        if (request.cancelled)() {
            child.connection.recall(&attachments);
            self.child = Some(child);
            return Ok(Err(TaskError::Cancelled));
        }
        let words = [request.entry.number(), request.count, attachment_word];
        let mut received =
            ReplyReader { function: request.function, unanswered: request.count, error: None, on_result };
        let deadline = request.limit.and_then(|limit| Instant::now().checked_add(limit));
        let lost = match child.post(words, &self.request, &attachments) {
            Ok(Some(number)) => {
                child.wake_worker();
                let has_descriptors = attachments.iter().any(|block| matches!(block, Attachment::Descriptor(_)));
                let on_received = || {
                    attachments.clear();
                    (request.on_received)();
                };
                let begun = has_descriptors.then_some((number, on_received));
                let lost = receive_replies(&mut child, deadline, &mut self.reply, &mut received, begun);
                lost.map(|lost| (lost, number))
            }
            // With nothing in flight the ring has remaining_tasks.
            Ok(None) => Some((RequestFailure::LossCause(LossCause::Corrupt), 0)),
            Err(cause) => Some((RequestFailure::LossCause(cause), u32::MAX)),
        };
        self.served += u64::from(request.count);
        // From here on nobody kills this worker for this task.
        drop(running);
        let Some((lost, number)) = lost else {
            child.answered();
            self.has_begun(&mut child);
            if child.connection.has_unclaimed() {
                // It sent what nobody asked for: the results are whole, but it gets no more request.
                child.reap(LossCause::Corrupt);
            } else {
                self.child = Some(child);
            }
            return Ok(received.outcome());
        };
        let begun = child.has_begun(number);
        if begun {
            self.has_begun(&mut child);
            received.take_finished_results(&mut child, &mut self.reply);
        }
        let has_begun_call = child.has_begun_call;
        let report = match lost {
            RequestFailure::LossCause(cause) => child.reap(cause),
            RequestFailure::TimedOut => child.reap(LossCause::Killed),
        };
        if received.unanswered == 0 {
            return Ok(received.outcome());
        }
        match lost {
            RequestFailure::TimedOut => Ok(Err(TaskError::TimedOut { after: request.limit.unwrap_or_default() })),
            RequestFailure::LossCause(_) if (request.cancelled)() => Ok(Err(TaskError::Cancelled)),
            RequestFailure::LossCause(_) if !begun => Err((report, has_begun_call)),
            RequestFailure::LossCause(_) => Ok(Err(worker_died_error(request.function, &report))),
        }
    }

    /// Whether its worker may run one more call.
    pub(crate) fn has_tasks_left(&self) -> bool {
        self.limits.max_tasks.is_none_or(|max_tasks| self.served < max_tasks)
    }

    /// This slot's worker; started if there is none.
    pub(crate) fn take_child(
        &mut self,
        function: &'static str,
        caller: &mut StartCaller<'_>,
    ) -> Result<Child, TaskError> {
        if !self.owner.is_here() {
            let why = "this process was forked from the one whose pool it is, and has no workers of it: start the program \
                       anew (exec) after a fork, or make a pool of its own";
            return Err(TaskError::worker_died(function, why.into(), None, None));
        }
        if self.limits.max_tasks.is_some_and(|max_tasks| self.served >= max_tasks)
            && let Some(child) = self.child.take()
        {
            child.ask_to_close();
            child.close_by(caller.deadline().into_iter().fold(child::close_deadline(), Instant::min));
        }
        if let Some(child) = self.child.take() {
            return Ok(child);
        }
        self.served = 0;
        self.start(caller).map_err(|none| match none {
            NoWorker::Cancelled => TaskError::Cancelled,
            NoWorker::TimedOut => TaskError::TimedOut { after: caller.limit.unwrap_or_default() },
            NoWorker::Failed(why) => self.start_failed(function, why),
        })
    }

    /// StartLimiter a worker, again if that fails, as often as the pool's [`StartLimiter`] allow.
    fn start(&self, caller: &mut StartCaller<'_>) -> Result<Child, NoWorker> {
        loop {
            self.limiter.wait_for_turn(caller)?;
            let error = match Child::start(self.limits, caller, &self.limiter) {
                Ok(child) => return Ok(child),
                Err(StartError::Cancelled) => return Err(NoWorker::Cancelled),
                Err(error) => error,
            };
            let given_up = self.limiter.failed(caller, &self.limited(error.to_string()), error.may_succeed_later());
            if matches!(error, StartError::TimedOut) {
                return Err(NoWorker::TimedOut);
            }
            if let Some(why) = given_up {
                return Err(NoWorker::Failed(why));
            }
        }
    }

    /// Why a start has failed whose worker was ready, and ended then.
    pub(crate) fn failed_start(&self, report: &ExitReport) -> String {
        self.limited(format!("a worker process ended before it began a call: {report}"))
    }

    /// The cause of a failed start, with the pool's memory limit, which may be too low for a worker.
    fn limited(&self, why: String) -> String {
        match self.limits.memory_limit {
            Some(limit) if !why.contains("memory limit") => {
                format!("with a memory limit of {limit} bytes (`memory_limit` of its pool), {why}")
            }
            _ => why,
        }
    }

    /// The error of a call that has no worker.
    pub(crate) fn start_failed(&mut self, function: &'static str, why: String) -> TaskError {
        self.start_failed = true;
        TaskError::worker_died(function, why, None, None)
    }

    /// A worker has begun a call.
    pub(crate) fn has_begun(&self, child: &mut Child) {
        if !child.has_begun_call {
            child.has_begun_call = true;
            self.limiter.succeeded();
        }
    }
}

pub(crate) fn worker_died_error(function: &'static str, report: &ExitReport) -> TaskError {
    let message = format!("its worker process {} is gone: {report}", report.pid);
    TaskError::worker_died(function, message, report.signal(), report.code())
}

/// The error that a reply tells of.
pub(crate) fn read_failure(function: &'static str, status: u32, input: &mut Decoder<'_>) -> Option<TaskError> {
    let (message, place): (String, String) = input.value().ok()?;
    failure(function, status, message, place)
}

/// Why a conversation has ended early.
#[derive(Clone, Copy)]
enum RequestFailure {
    LossCause(LossCause),
    TimedOut,
}

/// Receives replies until all request of a request are answered. Tells once the worker has begun it, if that is asked.
fn receive_replies(
    child: &mut Child,
    deadline: Option<Instant>,
    reply: &mut Vec<u8>,
    received: &mut ReplyReader<'_>,
    mut begun: Option<(u32, impl FnOnce())>,
) -> Option<RequestFailure> {
    // Whether a reply was said to be there and was not.
    let mut passed = false;
    loop {
        match child.wait(deadline, begun.as_ref().map(|(number, _)| *number)) {
            WaitEvent::Reply => {}
            WaitEvent::Begun => {
                if let Some((_, tell)) = begun.take() {
                    tell();
                }
                continue;
            }
            WaitEvent::TimedOut => return Some(RequestFailure::TimedOut),
            WaitEvent::Lost(cause) => return Some(RequestFailure::LossCause(cause)),
        }
        match child.reply(reply) {
            Ok(Some(header)) => {
                if received.take(child, header, reply).is_none() {
                    return Some(RequestFailure::LossCause(LossCause::Corrupt));
                }
            }
            // Once, at the end of the ring; a worker could do so for ever.
            Ok(None) if !passed => {
                passed = true;
                continue;
            }
            Ok(None) => return Some(RequestFailure::LossCause(LossCause::Corrupt)),
            Err(cause) => return Some(RequestFailure::LossCause(cause)),
        }
        passed = false;
        if received.unanswered == 0 {
            return None;
        }
        // The worker may reply without end.
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Some(RequestFailure::TimedOut);
        }
    }
}

/// What has come back so far.
struct ReplyReader<'a> {
    function: &'static str,
    /// CallRequest that are not answered.
    unanswered: u32,
    error: Option<TaskError>,
    on_result: &'a mut OnResult<'a>,
}

impl ReplyReader<'_> {
    /// Takes a reply; `None` if it cannot be one.
    fn take(&mut self, child: &mut Child, header: ReplyHeader, payload: &[u8]) -> Option<()> {
        let ReplyHeader { status, count, attachment_word, .. } = header;
        let mut message = child.open(attachment_word, payload).ok()?;
        let mut input = message.decoder();
        if status != status::DONE {
            let error = read_failure(self.function, status, &mut input)?;
            self.unanswered = 0;
            self.error.get_or_insert(error);
            return Some(());
        }
        self.results(count, &mut input)
    }

    fn results(&mut self, count: u32, input: &mut Decoder<'_>) -> Option<()> {
        // A worker that replies without results would do so for ever.
        let count = Some(count).filter(|count| *count > 0)?;
        self.unanswered = self.unanswered.checked_sub(count)?;
        let mut taken = 0;
        // One that cannot be read has a length all the same: those behind it can.
        while taken < count {
            let read = catch_codec_panic(self.function, || {
                while taken < count {
                    taken += 1;
                    (self.on_result)(Ok(input))?;
                }
                Ok(())
            });
            if let Err(CodecError(why)) = read {
                let error = TaskError::wire(self.function, format!("its result could not be read: {why}"));
                (self.on_result)(Err(Box::new(error))).ok()?;
            }
        }
        input.is_at_end().then_some(())
    }

    /// Takes what a worker that worker_died_error had finished.
    fn take_finished_results(&mut self, child: &mut Child, reply: &mut Vec<u8>) {
        while self.unanswered > 0
            && let Ok(Some(header)) = child.reply(reply)
        {
            if self.take(child, header, reply).is_none() {
                return;
            }
        }
        let count = child.take_open_reply(reply);
        if count > 0 && count <= self.unanswered {
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
        status::CODEC => TaskError::wire(function, message),
        _ => return None,
    })
}
