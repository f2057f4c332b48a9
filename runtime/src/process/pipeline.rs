//! The pipeline of a worker: several short calls are in flight to one worker process, so that it begins the next call
//! without waiting for its parent.
//!
//! If the first call takes longer than 500 us, the calls that the worker has not begun are taken back, and other
//! workers run them. So the pipeline is deep only for short calls; its depth follows the recent time of a call.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::child::{Child, WaitEvent};
use super::codec::{CodecError, Decoder};
use super::exit_report::LossCause;
use super::running_tasks::RunningTask;
use super::serve::{ReplyHeader, status};
use super::start_limit::StartCaller;
use super::worker_slot::{self, WorkerSlot};
use super::{current_slot, request_replies};
use crate::error::TaskError;
use crate::sys::{mutex, thread, unwind};

/// The time without a reply after which the calls that a worker has not begun are taken back.
const STALL_TIMEOUT: Duration = Duration::from_micros(500);
/// The amount of work in flight that a worker should have.
const TARGET_BACKLOG: Duration = Duration::from_micros(200);
/// The calls in flight to one worker at most.
const MAX_IN_FLIGHT: u32 = 64;

/// A task that is sent to a worker with others. `J` is its type in the pool's queue.
pub(crate) trait PipelinedTask<J>: Send {
    fn function(&self) -> &'static str;
    /// The index of the function in the program's table of functions.
    fn number(&self) -> u32;
    /// The encoded arguments.
    fn bytes(&self) -> &[u8];
    /// The address of the task's state, which identifies it.
    fn key(&self) -> usize;
    /// The value of [`series`](super::start_limit::series) when the task was made.
    fn start_series(&self) -> u32;
    /// Whether the task was cancelled.
    fn is_stopped(&self) -> bool;
    /// Whether the end of the task runs a callback.
    fn has_callback(&self) -> bool;
    /// Reads the task's result.
    fn read(&mut self, input: &mut Decoder<'_>) -> Result<(), CodecError>;
    /// Sets the error of the task.
    fn fail(&mut self, error: TaskError);
    /// Ends the task.
    fn finish(self: Box<Self>);
    /// Makes the task a job of the queue again; `None` if it was cancelled.
    fn into_job(self: Box<Self>) -> Option<J>;
}

/// The queue that a pipeline takes its tasks from.
pub(crate) trait PipelineSource<J> {
    /// Takes one more task, if there is one for a worker that has `in_flight` tasks already.
    fn next(&mut self, in_flight: usize) -> Option<Box<dyn PipelinedTask<J>>>;
    /// Takes back the tasks that the worker has not begun.
    fn put_back(&mut self, tasks: Vec<Box<dyn PipelinedTask<J>>>);
}

/// The tasks in flight to one worker, with the numbers of their requests, the oldest first.
type InFlightQueue<J> = VecDeque<(u32, Box<dyn PipelinedTask<J>>)>;

/// Runs the tasks of `source` on the worker process of this thread's slot, until there are no more.
///
/// # Panics
///
/// If this thread has no worker slot.
pub(crate) fn pipeline<J: 'static>(source: &mut dyn PipelineSource<J>) {
    current_slot::with_current(|slot| {
        let mut in_flight = InFlightQueue::new();
        run(slot, &mut in_flight, source);
    });
}

fn run<J: 'static>(slot: &mut WorkerSlot, in_flight: &mut InFlightQueue<J>, source: &mut dyn PipelineSource<J>) {
    let Some(mut first) = source.next(0) else { return };
    let is_cancelled = || first.is_stopped();
    let mut caller = StartCaller::new(Some(first.key()), first.start_series(), None, &is_cancelled);
    let started = slot.take_child(first.function(), &mut caller);
    let mut child = match started {
        Ok(child) => child,
        Err(error) => {
            first.fail(error);
            return finish(first, false);
        }
    };
    let mut next = Some(first);
    // Whether the last wait announced a reply that was not there.
    let mut was_padding = false;
    loop {
        while in_flight.len() < depth(slot.call_time)
            && slot.has_tasks_left()
            && let Some(task) = next.take().or_else(|| source.next(in_flight.len()))
        {
            let posted = child.post([task.number(), 1, 0], task.bytes(), &[]);
            match posted {
                Ok(Some(number)) => {
                    slot.served += 1;
                    in_flight.push_back((number, task));
                }
                // An empty ring has space, unless the worker overwrote its positions.
                Ok(None) if in_flight.is_empty() => {
                    source.put_back(vec![task]);
                    return handle_loss(slot, child, LossCause::Corrupt, in_flight, source);
                }
                Ok(None) => {
                    source.put_back(vec![task]);
                    break;
                }
                Err(cause) => {
                    source.put_back(vec![task]);
                    return handle_loss(slot, child, cause, in_flight, source);
                }
            }
        }
        child.wake_worker();
        let Some((_, front)) = in_flight.front() else { break };
        // Killing the worker is safe for other tasks only if this task is the only one in flight.
        let running = (in_flight.len() == 1).then(|| RunningTask::enter(front.key(), child.process()));
        if running.is_some() && front.is_stopped() {
            drop(running);
            return handle_loss(slot, child, LossCause::Killed, in_flight, source);
        }
        let deadline = running.is_none().then(|| Instant::now() + STALL_TIMEOUT);
        let begun = Instant::now();
        let event = child.wait(deadline, None);
        drop(running);
        match event {
            WaitEvent::Reply => match take(slot, &mut child, in_flight) {
                // Padding at the end of the ring. A second one in a row is refused, because a compromised worker could
                // write padding without end.
                Ok(0) if !was_padding => was_padding = true,
                Ok(0) => return handle_loss(slot, child, LossCause::Corrupt, in_flight, source),
                Ok(taken) => {
                    was_padding = false;
                    let call_time = begun.elapsed() / taken;
                    slot.call_time = (slot.call_time * 3 + call_time) / 4;
                }
                Err(cause) => return handle_loss(slot, child, cause, in_flight, source),
            },
            // `wait` was not asked to report this.
            WaitEvent::Begun => {}
            WaitEvent::TimedOut => {
                let first = child.take_back();
                let begun = in_flight.iter().take_while(|(number, _)| first.wrapping_sub(*number).cast_signed() > 0);
                let unbegun = in_flight.split_off(begun.count());
                slot.served -= unbegun.len() as u64;
                slot.call_time = STALL_TIMEOUT;
                if !unbegun.is_empty() {
                    source.put_back(unbegun.into_iter().map(|(_, task)| task).collect());
                }
                // A worker begins a request after it has replied to the one before, so it cannot have begun two.
                if in_flight.len() > 1 && !child.has_reply() {
                    return handle_loss(slot, child, LossCause::Corrupt, in_flight, source);
                }
            }
            WaitEvent::Lost(cause) => {
                let _ = take(slot, &mut child, in_flight);
                return handle_loss(slot, child, cause, in_flight, source);
            }
        }
    }
    if let Some(task) = next {
        source.put_back(vec![task]);
    }
    if child.connection.has_unclaimed() {
        // A worker that sends unannounced descriptors gets no more calls.
        child.reap(LossCause::Corrupt);
        slot.served = 0;
    } else {
        slot.child = Some(child);
    }
}

/// The calls to have in flight at this time of a call.
fn depth(call_time: Duration) -> usize {
    let fitting = TARGET_BACKLOG.as_nanos() / call_time.as_nanos().max(1);
    usize::try_from(fitting.clamp(1, u128::from(MAX_IN_FLIGHT))).unwrap_or(1)
}

/// Takes all replies that wait; returns their number.
fn take<J: 'static>(
    slot: &mut WorkerSlot,
    child: &mut Child,
    in_flight: &mut InFlightQueue<J>,
) -> Result<u32, LossCause> {
    let mut taken = 0;
    while let Some(ReplyHeader { status, count, attachment_word, .. }) = child.reply(&mut slot.reply)? {
        // The task stays in flight until its reply is open, so it is lost with the worker if the reply cannot be
        // opened.
        let mut message = child.open(attachment_word, &slot.reply).map_err(|_| LossCause::Corrupt)?;
        let (_, mut task) = in_flight.pop_front().ok_or(LossCause::Corrupt)?;
        child.mark_answered();
        slot.mark_begun(child);
        let function = task.function();
        let mut input = message.decoder();
        let error = if status == status::DONE {
            let read = task.read(&mut input);
            read.err().map(|error| TaskError::wire(function, format!("its result could not be read: {error}")))
        } else {
            request_replies::read_failure(function, status, &mut input)
        };
        if let Some(error) = error {
            task.fail(error);
        }
        if count != 1 {
            task.fail(TaskError::wire(function, "its worker gave more than one result".into()));
        }
        finish(task, !in_flight.is_empty());
        taken += 1;
    }
    Ok(taken)
}

/// Handles the loss of a worker: the task that it had begun fails, and the others are put back.
fn handle_loss<J: 'static>(
    slot: &mut WorkerSlot,
    mut child: Child,
    cause: LossCause,
    in_flight: &mut InFlightQueue<J>,
    source: &mut dyn PipelineSource<J>,
) {
    let begun = in_flight.front().is_some_and(|(number, _)| child.has_begun(*number));
    if begun {
        slot.mark_begun(&mut child);
    }
    let is_cancelled = in_flight.front().is_some_and(|(_, front)| front.is_stopped());
    let (has_begun_call, failed_before) = (child.has_begun_call, child.failed_before);
    let report = child.reap(cause);
    // A worker that never began a call counts as a failed start. Its tasks are queued again, a bounded number of times.
    let is_failed_start = !has_begun_call && !is_cancelled;
    let given_up =
        is_failed_start.then(|| slot.limiter.worker_failed_start(failed_before, &slot.failed_start(&report))).flatten();
    if (begun || given_up.is_some())
        && let Some((_, mut task)) = in_flight.pop_front()
    {
        let function = task.function();
        task.fail(match given_up {
            _ if is_cancelled => TaskError::Cancelled,
            Some(why) => slot.start_failed(function, why),
            None => worker_slot::worker_died_error(function, &report),
        });
        finish(task, false);
    }
    slot.served = 0;
    source.put_back(in_flight.drain(..).map(|(_, task)| task).collect());
}

/// Ends a task. If it has a callback and other tasks are in flight, another thread ends it: the callback may wait for
/// tasks whose replies this thread receives.
fn finish<J: 'static>(task: Box<dyn PipelinedTask<J>>, others: bool) {
    if !(others && task.has_callback()) {
        return unwind::contain(|| task.finish());
    }
    let shared = std::sync::Arc::new(std::sync::Mutex::new(Some(task)));
    let for_thread = std::sync::Arc::clone(&shared);
    let run = move |shared: &std::sync::Mutex<Option<Box<dyn PipelinedTask<J>>>>| {
        let task = mutex::lock(shared).take();
        if let Some(task) = task {
            unwind::contain(|| task.finish());
        }
    };
    let spawned = thread::spawn("fanfold-callback".to_owned(), None, move || run(&for_thread));
    if spawned.is_err() {
        run(&shared);
    }
}
