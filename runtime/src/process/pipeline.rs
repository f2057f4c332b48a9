//! Several request on their way to one worker: while it runs the first, the next ones wait in its ring, and it need not
//! wait for its parent between them.
//!
//! A call that waits behind another one is lent, not given: when the one before it takes long, those not begun are
//! taken back, for other workers to run. So only request that are quick travel together; how many, the call_time of the
//! last ones tells.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::child::{Child, LossCause, WaitEvent};
use super::codec::{CodecError, Decoder};
use super::request_replies;
use super::running_tasks::RunningTask;
use super::serve::{ReplyHeader, status};
use super::start_limit::StartCaller;
use super::worker_slot::{self, WorkerSlot};
use crate::error::TaskError;
use crate::sys::unwind;

/// How long a worker may be without a reply before what it has not begun is taken back.
const STALL_TIMEOUT: Duration = Duration::from_micros(500);
/// How much work a worker has ahead of it.
const TARGET_BACKLOG: Duration = Duration::from_micros(200);
/// CallRequest on their way at most.
const MAX_IN_FLIGHT: u32 = 64;

/// A task that is on its way to a worker. `J` is what it is in its pool's queue.
pub(crate) trait PipelinedTask<J>: Send {
    fn function(&self) -> &'static str;
    /// The function's number in the program's table.
    fn number(&self) -> u32;
    /// The arguments.
    fn bytes(&self) -> &[u8];
    /// What tells the task from others that run.
    fn key(&self) -> usize;
    /// What [`series`](super::start_limit::series) was when the task was made.
    fn start_series(&self) -> u32;
    /// Whether it was asked to stop.
    fn is_stopped(&self) -> bool;
    /// Whether somebody's code runs when it ends.
    fn has_callback(&self) -> bool;
    /// Reads its result.
    fn read(&mut self, input: &mut Decoder<'_>) -> Result<(), CodecError>;
    /// It has no result.
    fn fail(&mut self, error: TaskError);
    /// Ends the task.
    fn finish(self: Box<Self>);
    /// Makes it a job again; `None` if it was cancelled.
    fn into_job(self: Box<Self>) -> Option<J>;
}

/// Where tasks come from.
pub(crate) trait PipelineSource<J> {
    /// One more, if there is one for a worker that has so many already.
    fn next(&mut self, in_flight: usize) -> Option<Box<dyn PipelinedTask<J>>>;
    /// Takes back what the worker has not begun.
    fn put_back(&mut self, tasks: Vec<Box<dyn PipelinedTask<J>>>);
}

/// What a worker has to do: requests by their numbers, the oldest first.
type InFlightQueue<J> = VecDeque<(u32, Box<dyn PipelinedTask<J>>)>;

/// Has this slot's worker run what the source gives, until there is no more.
///
/// # Panics
///
/// If this thread is no slot.
pub(crate) fn pipeline<J: 'static>(source: &mut dyn PipelineSource<J>) {
    worker_slot::with_current(|slot| {
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
    // Whether a reply was said to be there and was not.
    let mut passed = false;
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
                // An empty ring has room, unless the worker has written where it must not.
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
        // Alone it can be killed without harm to others.
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
                // Once, at the end of the ring; a worker could do so for ever.
                Ok(0) if !passed => passed = true,
                Ok(0) => return handle_loss(slot, child, LossCause::Corrupt, in_flight, source),
                Ok(taken) => {
                    passed = false;
                    let call_time = begun.elapsed() / taken;
                    slot.call_time = (slot.call_time * 3 + call_time) / 4;
                }
                Err(cause) => return handle_loss(slot, child, cause, in_flight, source),
            },
            // Nobody asked.
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
                // A worker begins a request when it has replied to the one before: it cannot be at two of them.
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
        // It sent what nobody asked for: it gets no more request.
        child.reap(LossCause::Corrupt);
        slot.served = 0;
    } else {
        slot.child = Some(child);
    }
}

/// CallRequest to have on their way at this call_time.
fn depth(call_time: Duration) -> usize {
    let fitting = TARGET_BACKLOG.as_nanos() / call_time.as_nanos().max(1);
    usize::try_from(fitting.clamp(1, u128::from(MAX_IN_FLIGHT))).unwrap_or(1)
}

/// Takes all replies that are there: how many.
fn take<J: 'static>(
    slot: &mut WorkerSlot,
    child: &mut Child,
    in_flight: &mut InFlightQueue<J>,
) -> Result<u32, LossCause> {
    let mut taken = 0;
    while let Some(ReplyHeader { status, count, attachment_word, .. }) = child.reply(&mut slot.reply)? {
        // Until its reply is open the call is on its way, and is lost with the worker if that fails.
        let mut message = child.open(attachment_word, &slot.reply).map_err(|_| LossCause::Corrupt)?;
        let (_, mut task) = in_flight.pop_front().ok_or(LossCause::Corrupt)?;
        child.answered();
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

/// The worker is gone, and with it what it ran.
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
    // A worker that has begun nothing is a start that has failed. The tasks are queued again, up to a bound.
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

/// Ends a task. Its callbacks may wait for others that this thread is to receive: then another thread runs them.
fn finish<J: 'static>(task: Box<dyn PipelinedTask<J>>, others: bool) {
    if !(others && task.has_callback()) {
        return unwind::contain(|| task.finish());
    }
    let place = std::sync::Arc::new(std::sync::Mutex::new(Some(task)));
    let there = std::sync::Arc::clone(&place);
    let run = move |place: &std::sync::Mutex<Option<Box<dyn PipelinedTask<J>>>>| {
        let task = place.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(task) = task {
            unwind::contain(|| task.finish());
        }
    };
    let spawned = std::thread::Builder::new().name("fanfold-callback".into()).spawn(move || run(&there));
    if spawned.is_err() {
        run(&place);
    }
}
