//! [`WorkerSlot`]: a slot that owns one lazily started worker process, and runs calls on it.
//!
//! The queue, the permits and the task slots of a process pool are those of every pool. The difference is that a thread
//! of a process pool does not run functions itself: it takes a worker slot, sends the call to the slot's worker
//! process, and waits for the reply.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::child::{self, Child};
use super::codec::{Attachment, CodecError, Encoder};
use super::exit_report::{ExitReport, LossCause};
use super::limits::WorkerLimits;
use super::message::prepend_attachment_table;
use super::registry::Entry;
use super::request_replies::{OnResult, ReplyReader, RequestFailure, receive_replies};
use super::running_tasks::RunningTask;
use super::start_error::StartError;
use super::start_limit::{NoWorker, StartCaller, StartLimiter};
use crate::error::TaskError;
use crate::sys::owner::Owner;

/// A slot that owns one lazily started worker process.
pub(crate) struct WorkerSlot {
    /// The process of the pool.
    owner: Owner,
    limits: WorkerLimits,
    /// The start limiter of the pool.
    pub(crate) limiter: Arc<StartLimiter>,
    /// Whether the last call failed because no worker process could be started.
    pub(super) last_start_failed: bool,
    pub(crate) child: Option<Child>,
    /// When the slot was last put back, if its pool has an idle timeout.
    pub(super) idle_since: Option<Instant>,
    /// The calls that this worker process was given.
    pub(crate) served: u64,
    /// The recent time of a call, where several are in flight.
    pub(crate) call_time: Duration,
    request: Vec<u8>,
    pub(crate) reply: Vec<u8>,
}

/// The assumed time of a call before any was measured: some calls are sent ahead, and taken back if they take longer.
const INITIAL_CALL_TIME: Duration = Duration::from_micros(25);

impl WorkerSlot {
    /// A slot whose worker process starts with the first call.
    pub(crate) fn new(limits: WorkerLimits, owner: Owner, limiter: Arc<StartLimiter>) -> Self {
        Self {
            owner,
            limits,
            limiter,
            last_start_failed: false,
            child: None,
            idle_since: None,
            served: 0,
            call_time: INITIAL_CALL_TIME,
            request: Vec::new(),
            reply: Vec::new(),
        }
    }

    /// Whether the slot has a worker process that may run one more call.
    pub(crate) fn is_ready(&self) -> bool {
        self.child.is_some() && self.has_tasks_left()
    }

    /// Whether this process or the worker holds segments for large blocks.
    pub(crate) fn holds_memory(&self) -> bool {
        self.child.as_ref().is_some_and(Child::holds_memory)
    }

    /// Releases shared memory that is not in use.
    pub(crate) fn release_memory(&mut self) {
        if let Some(child) = &mut self.child {
            child.release_memory();
        }
    }

    /// Asks the worker process to exit, without waiting for it.
    pub(crate) fn ask_to_close(&self) {
        if let Some(child) = &self.child {
            child.ask_to_close();
        }
    }

    /// Ends the worker process.
    pub(crate) fn close(self) {
        if let Some(child) = self.child {
            child.close();
        }
    }

    /// Waits until the worker process, which was asked to close, has exited; kills it at the deadline.
    pub(crate) fn close_by(self, deadline: Instant) {
        if let Some(child) = self.child {
            child.close_by(deadline);
        }
    }
}

/// One or several calls of a function, sent as one request.
pub(crate) struct CallRequest<'a> {
    pub(crate) function: &'static str,
    pub(crate) entry: &'static Entry,
    pub(crate) count: u32,
    /// The time limit of all calls together.
    pub(crate) limit: Option<Duration>,
    /// The address of the state of the task that can be cancelled.
    pub(crate) task: Option<usize>,
    /// Whether the caller's task was cancelled.
    pub(crate) cancelled: fn() -> bool,
    /// The value of [`series`](super::start_limit::series) when the calls were made.
    pub(crate) start_series: u32,
    /// Writes the arguments of all calls.
    pub(crate) write: &'a dyn Fn(&mut Encoder<'_>) -> Result<(), CodecError>,
    /// Called when the worker has received the channel ends among the arguments, so that the caller can drop its
    /// copies.
    pub(crate) on_received: &'a dyn Fn(),
}

/// A worker process that ended before it began the request.
struct NotBegun {
    report: ExitReport,
    /// Whether the worker had begun an earlier call.
    had_begun_call: bool,
}

impl WorkerSlot {
    pub(super) fn run(&mut self, request: &CallRequest<'_>, on_result: &mut OnResult<'_>) -> Result<(), TaskError> {
        let mut caller = StartCaller::new(request.task, request.start_series, request.limit, &request.cancelled);
        self.last_start_failed = false;
        loop {
            match self.attempt(request, &mut caller, on_result) {
                Ok(outcome) => return outcome,
                // The worker had started well and was killed while it was idle: that is no failed start.
                Err(NotBegun { had_begun_call: true, .. }) => {}
                Err(NotBegun { report, .. }) => {
                    if let Some(why) = self.limiter.failed(&mut caller, &self.failed_start(&report), true) {
                        return Err(self.start_failed(request.function, why));
                    }
                }
            }
        }
    }

    /// Sends the request and receives its replies. [`NotBegun`] if the worker process ended before it began the
    /// request: then another worker may run it.
    fn attempt(
        &mut self,
        request: &CallRequest<'_>,
        caller: &mut StartCaller<'_>,
        on_result: &mut OnResult<'_>,
    ) -> Result<Result<(), TaskError>, NotBegun> {
        let mut child = match self.take_child(request.function, caller) {
            Ok(child) => child,
            Err(error) => return Ok(Err(error)),
        };
        self.request.clear();
        let mut attachments = Vec::new();
        let written =
            (request.write)(&mut Encoder::new(&mut self.request, &mut attachments, Some(&mut child.connection.outbox)));
        let outbox = &mut child.connection.outbox;
        let message = written.and_then(|()| prepend_attachment_table(&mut self.request, &mut attachments, outbox));
        let attachment_word = match message {
            Ok(word) => word,
            Err(CodecError(why)) => {
                child.connection.recall(&attachments);
                // A worker that has released none of so many segments may never do so: the next call gets another
                // worker.
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
        let mut replies = ReplyReader { function: request.function, unanswered: request.count, error: None, on_result };
        let deadline = request.limit.and_then(|limit| Instant::now().checked_add(limit));
        let failure = match child.post(words, &self.request, &attachments) {
            Ok(Some(number)) => {
                child.wake_worker();
                let has_descriptors = attachments.iter().any(|one| matches!(one, Attachment::Descriptor(_)));
                let on_received = || {
                    attachments.clear();
                    (request.on_received)();
                };
                let on_begun = has_descriptors.then_some((number, on_received));
                let failure = receive_replies(&mut child, deadline, &mut self.reply, &mut replies, on_begun);
                failure.map(|failure| (failure, number))
            }
            // No request is in flight, so a sound ring has room for this one.
            Ok(None) => Some((RequestFailure::Lost(LossCause::Corrupt), 0)),
            Err(cause) => Some((RequestFailure::Lost(cause), u32::MAX)),
        };
        self.served += u64::from(request.count);
        // From here on, cancelling the task does not kill this worker.
        drop(running);
        let Some((failure, number)) = failure else {
            child.mark_answered();
            self.mark_begun(&mut child);
            if child.connection.has_unclaimed() {
                // The results are complete, but a worker that sends unannounced descriptors gets no more calls.
                child.reap(LossCause::Corrupt);
            } else {
                self.child = Some(child);
            }
            return Ok(replies.outcome());
        };
        let has_begun = child.has_begun(number);
        if has_begun {
            self.mark_begun(&mut child);
            replies.take_finished_results(&mut child, &mut self.reply);
        }
        let had_begun_call = child.has_begun_call;
        let report = match failure {
            RequestFailure::Lost(cause) => child.reap(cause),
            RequestFailure::TimedOut => child.reap(LossCause::Killed),
        };
        if replies.unanswered == 0 {
            return Ok(replies.outcome());
        }
        match failure {
            RequestFailure::TimedOut => Ok(Err(TaskError::TimedOut { after: request.limit.unwrap_or_default() })),
            RequestFailure::Lost(_) if (request.cancelled)() => Ok(Err(TaskError::Cancelled)),
            RequestFailure::Lost(_) if !has_begun => Err(NotBegun { report, had_begun_call }),
            RequestFailure::Lost(_) => Ok(Err(worker_died_error(request.function, &report))),
        }
    }

    /// The calls that the worker process may still run before it is replaced; after a replacement, all of them. `None`
    /// without a limit.
    pub(super) fn remaining_tasks(&self) -> Option<u64> {
        let max_tasks = self.limits.max_tasks?;
        Some(if self.served < max_tasks { max_tasks - self.served } else { max_tasks })
    }

    /// Whether the worker process may run one more call.
    pub(crate) fn has_tasks_left(&self) -> bool {
        self.limits.max_tasks.is_none_or(|max_tasks| self.served < max_tasks)
    }

    /// Takes the worker process out of the slot. Replaces one that has run its number of calls, and starts one if there
    /// is none.
    pub(crate) fn take_child(
        &mut self,
        function: &'static str,
        caller: &mut StartCaller<'_>,
    ) -> Result<Child, TaskError> {
        if !self.owner.is_this_process() {
            let why = "this process was forked from the one whose pool it is, and has no workers of it: start the \
                       program anew (exec) after a fork, or make a pool of its own";
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

    /// Starts a worker process. Tries again after a failure, as often as the pool's [`StartLimiter`] allows.
    fn start(&self, caller: &mut StartCaller<'_>) -> Result<Child, NoWorker> {
        loop {
            self.limiter.wait_for_turn(caller)?;
            let error = match Child::start(self.limits, caller, &self.limiter) {
                Ok(child) => return Ok(child),
                Err(StartError::Cancelled) => return Err(NoWorker::Cancelled),
                Err(error) => error,
            };
            let given_up =
                self.limiter.failed(caller, &self.with_memory_limit(error.to_string()), error.may_succeed_later());
            if matches!(error, StartError::TimedOut) {
                return Err(NoWorker::TimedOut);
            }
            if let Some(why) = given_up {
                return Err(NoWorker::Failed(why));
            }
        }
    }

    /// The text of a failed start: the worker process became ready, and ended before it began a call.
    pub(crate) fn failed_start(&self, report: &ExitReport) -> String {
        self.with_memory_limit(format!("a worker process ended before it began a call: {report}"))
    }

    /// Adds the pool's memory limit to the cause of a failed start, because it may be too low for a worker process.
    fn with_memory_limit(&self, why: String) -> String {
        match self.limits.memory_limit {
            Some(limit) if !why.contains("memory limit") => {
                format!("with a memory limit of {limit} bytes (`memory_limit` of its pool), {why}")
            }
            _ => why,
        }
    }

    /// The error of a call for which no worker process could be started.
    pub(crate) fn start_failed(&mut self, function: &'static str, why: String) -> TaskError {
        self.last_start_failed = true;
        TaskError::worker_died(function, why, None, None)
    }

    /// Records that the worker process has begun a call, so its start has succeeded.
    pub(crate) fn mark_begun(&self, child: &mut Child) {
        if !child.has_begun_call {
            child.has_begun_call = true;
            self.limiter.succeeded();
        }
    }
}

/// The error of a call whose worker process ended while it ran the call.
pub(crate) fn worker_died_error(function: &'static str, report: &ExitReport) -> TaskError {
    let message = format!("its worker process {} is gone: {report}", report.pid);
    TaskError::worker_died(function, message, report.signal(), report.code())
}
