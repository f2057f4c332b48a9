//! Submitted tasks of `kind = "process"`: jobs that are sent to a worker process, several at a time.

use std::cell::RefCell;
use std::sync::Arc;

use super::remote::Remote;
use crate::error::{TaskError, panics};
use crate::pool::queue_limit::QueuePlace;
use crate::pool::work_span::is_observed;
use crate::pool::{Job, JobEnd, PreparedJob};
use crate::process::{Code, CodecError, Decoder, PipelinedTask, catch_codec_panic};
use crate::sys::unwind;
use crate::task::cancel::cancelled;
use crate::task::slot::{Slot, TaskWork};

/// The work of a submitted task that a worker process runs.
pub(super) struct RemoteWork<A, R, C, D> {
    pub(super) remote: Remote<A, R, C, D>,
    pub(super) args: A,
    /// Given back when a worker takes the task.
    pub(super) place: Option<QueuePlace>,
}

type RemoteSlot<A, R, C, D> = Slot<RemoteWork<A, R, C, D>, R>;

impl<A, R, C: Code<A>, D: Code<R>> TaskWork<R> for RemoteWork<A, R, C, D> {
    const STOPS_ON_REQUEST: bool = false;

    fn run_if_queued(slot: &RemoteSlot<A, R, C, D>) -> bool {
        let Some(RemoteWork { remote, args, place }) = slot.claim_work() else { return false };
        drop(place);
        let queued = slot.start_clock();
        let inside = slot.enter();
        let args = RefCell::new(Some(args));
        // The user's serialization of the arguments may panic as well.
        let outcome = panics::catch(remote.function(), || slot.observed(queued, || remote.call(&args)));
        drop(inside);
        unwind::discard(args);
        slot.finish(outcome.and_then(|outcome| outcome));
        true
    }
}

impl<A: 'static, R: 'static, C: Code<A> + 'static, D: Code<R> + 'static> Job for RemoteSlot<A, R, C, D> {
    fn run(self: Arc<Self>) -> JobEnd {
        let ran = RemoteWork::run_if_queued(&self);
        unwind::discard(self);
        if ran { JobEnd::Ran } else { JobEnd::Dead }
    }

    fn is_dead(&self) -> bool {
        Slot::is_claimed(self)
    }

    fn can_be_pipelined(&self) -> bool {
        true
    }

    fn prepare_for_process(self: Arc<Self>) -> PreparedJob {
        let Some(mut work) = self.claim_work() else {
            self.note_dequeued();
            return PreparedJob::Ended;
        };
        drop(work.place.take());
        // An observed task has a worker to itself, so that it has a begin.
        let encoded = if work.remote.can_be_pipelined() && !is_observed() {
            panics::catch(work.remote.function(), || work.remote.encode(&work.args))
        } else {
            Ok(None)
        };
        match encoded {
            Ok(Some(Ok(bytes))) => {
                self.start_clock();
                PreparedJob::Ready(Box::new(InFlightTask { slot: self, work, bytes, outcome: None }))
            }
            Ok(None) => {
                let late = work.remote.missed_deadline();
                // SAFETY: this thread's `begin` above took the work, and nothing has ended the task since.
                unsafe { self.put_back(work) };
                // The timer finds no queued task meanwhile.
                match late {
                    Some(after) if self.end_unstarted(TaskError::TimedOut { after }) => PreparedJob::Ended,
                    _ => PreparedJob::TooLarge,
                }
            }
            Ok(Some(Err(error))) | Err(error) => {
                unwind::discard(work);
                self.finish(Err(error));
                PreparedJob::Ended
            }
        }
    }

    fn abandon(&self, cancelled: bool) {
        self.end_unstarted(if cancelled { TaskError::Cancelled } else { TaskError::PoolClosed });
    }
}

/// A task whose arguments have been sent to a worker, which may run others before it.
struct InFlightTask<A, R, C, D> {
    slot: Arc<RemoteSlot<A, R, C, D>>,
    work: RemoteWork<A, R, C, D>,
    bytes: Vec<u8>,
    outcome: Option<Result<R, TaskError>>,
}

// SAFETY: `Code<A>` and `Code<R>` are implemented for `Send` types only; the other fields are plain data, function
// pointers and an `Arc` of a slot, which is `Sync`.
unsafe impl<A, R, C, D> Send for InFlightTask<A, R, C, D> {}

impl<A: 'static, R: 'static, C: Code<A> + 'static, D: Code<R> + 'static> PipelinedTask<Arc<dyn Job>>
    for InFlightTask<A, R, C, D>
{
    fn function(&self) -> &'static str {
        self.work.remote.function()
    }

    fn number(&self) -> u32 {
        self.work.remote.entry_number()
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn key(&self) -> usize {
        self.slot.key()
    }

    fn start_series(&self) -> u32 {
        self.work.remote.start_series()
    }

    fn is_stopped(&self) -> bool {
        self.slot.is_stop_requested() || cancelled()
    }

    fn has_callback(&self) -> bool {
        self.slot.has_callback()
    }

    fn read(&mut self, input: &mut Decoder<'_>) -> Result<(), CodecError> {
        let remote = &self.work.remote;
        self.outcome = Some(Ok(catch_codec_panic(remote.function(), || remote.decode(input))?));
        Ok(())
    }

    fn fail(&mut self, error: TaskError) {
        self.outcome = Some(Err(error));
    }

    fn finish(self: Box<Self>) {
        let Self { slot, work, outcome, .. } = *self;
        let function = work.remote.function();
        unwind::discard(work);
        slot.finish(outcome.unwrap_or_else(|| Err(TaskError::wire(function, "its worker gave no result".into()))));
        unwind::discard(slot);
    }

    fn into_job(self: Box<Self>) -> Option<Arc<dyn Job>> {
        let Self { slot, work, .. } = *self;
        // SAFETY: `ship` took the work by `begin`, and `finish`, which ends the task, consumes `self` as this does.
        unsafe { slot.put_back(work) };
        if slot.is_stop_requested() && slot.end_unstarted(TaskError::Cancelled) {
            return None;
        }
        Some(slot)
    }
}
