//! Batches of calls: the arguments of many short calls are sent in one request.

use std::cell::RefCell;
use std::ops::ControlFlow;

use super::{Remote, START_PAUSE};
use crate::attribute::retry::Backoff;
use crate::error::{TaskError, panics};
use crate::process::codec::{Code, CodecError, Encoder, TOO_LARGE, begin_part, end_part};
use crate::process::current_slot;
use crate::process::transport::ring::MAX_PAYLOAD;
use crate::process::worker_slot::CallRequest;
use crate::task::cancel::{cancelled, current_task_key};

/// The approximate size of a batch's arguments, 32 KiB: a fraction of the ring, so that the worker reads one batch
/// while the next is written.
pub(super) const BATCH_BYTES: usize = 1 << 15;
/// The most calls in a batch.
const BATCH_CALLS: usize = 1 << 14;

/// The encoded arguments of several calls, which are sent in one request.
#[derive(Default)]
struct CallBatch {
    bytes: Vec<u8>,
    /// The offset of each call's arguments.
    starts: Vec<usize>,
}

/// The reason that a batch takes no more calls.
enum CallBatchEnd<A> {
    /// The batch is full.
    Full,
    /// These arguments need a request of their own.
    Alone(A),
    /// The next call's arguments cannot be sent.
    Refused(TaskError),
    /// There are no more calls.
    Done,
}

impl<A, R, C: Code<A>, D: Code<R>> Remote<A, R, C, D> {
    /// Runs the function for each of `next` on this thread's worker process, in batches. Passes each outcome to `give`
    /// in order, until that breaks; a panic ends the run. `start` is the index of the first call in its map, if known.
    pub(crate) fn call_all(
        &self,
        start: Option<usize>,
        next: &mut dyn FnMut() -> Option<A>,
        give: &mut dyn FnMut(Result<R, TaskError>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if let Some(placement) = self.placement {
            return self.call_all_on(placement, start, next, give);
        }
        let mut batch = CallBatch::default();
        loop {
            let alone = self.fill_batch(next, &mut batch);
            self.call_batch(&mut batch, give)?;
            match alone {
                CallBatchEnd::Full => {}
                CallBatchEnd::Alone(args) => give(self.call(&RefCell::new(Some(args))))?,
                CallBatchEnd::Refused(error) => give(Err(error))?,
                CallBatchEnd::Done => return ControlFlow::Continue(()),
            }
        }
    }

    /// Fills a batch with the arguments of the next calls.
    fn fill_batch(&self, next: &mut dyn FnMut() -> Option<A>, batch: &mut CallBatch) -> CallBatchEnd<A> {
        batch.bytes.clear();
        batch.starts.clear();
        // One `catch` for the batch: one for each call would take as long as a short call.
        let (mut start, mut writing) = (0, false);
        match panics::catch(self.function, || self.fill(next, batch, &mut start, &mut writing)) {
            Ok(packing) => packing,
            Err(error) if writing => {
                batch.bytes.truncate(start);
                CallBatchEnd::Refused(self.not_sent(&CodecError::new(error)))
            }
            // The iterator of the items has panicked, which is the caller's panic.
            Err(error) => panic!("{}", error.resume()),
        }
    }

    /// Writes calls until the batch is full. `start` is the offset of the last call, and `writing` whether a panic is
    /// that of its arguments.
    fn fill(
        &self,
        next: &mut dyn FnMut() -> Option<A>,
        batch: &mut CallBatch,
        start: &mut usize,
        writing: &mut bool,
    ) -> CallBatchEnd<A> {
        let most = current_slot::remaining_tasks();
        while batch.bytes.len() < BATCH_BYTES && (batch.starts.len() as u64) < most && batch.starts.len() < BATCH_CALLS
        {
            let Some(args) = next() else { return CallBatchEnd::Done };
            if self.limit.is_some() {
                return CallBatchEnd::Alone(args);
            }
            *start = begin_part(&mut batch.bytes);
            let mut attachments = Vec::new();
            let mut out = Encoder::new(&mut batch.bytes, &mut attachments, None);
            *writing = true;
            let written = self.arguments.write(&args, &mut out);
            *writing = false;
            let error = match written {
                Ok(()) if batch.bytes.len() <= MAX_PAYLOAD => {
                    end_part(&mut batch.bytes[*start..]);
                    batch.starts.push(*start);
                    continue;
                }
                Ok(()) => None,
                Err(error) => Some(error).filter(|error| *error.0 != TOO_LARGE),
            };
            batch.bytes.truncate(*start);
            return match error {
                Some(error) => CallBatchEnd::Refused(self.not_sent(&error)),
                None => CallBatchEnd::Alone(args),
            };
        }
        CallBatchEnd::Full
    }

    /// Runs the calls of a batch; if the worker dies, the calls without an answer are retried.
    fn call_batch(
        &self,
        batch: &mut CallBatch,
        give: &mut dyn FnMut(Result<R, TaskError>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let (mut first, mut retries, mut backoff) = (0, self.retries, Backoff::new(self.backoff));
        let mut results: Vec<R> = Vec::new();
        // Answers that are errors, with their positions.
        let mut failed = Vec::new();
        while first < batch.starts.len() {
            let count = batch.starts.len() - first;
            let bytes = &batch.bytes[batch.starts[first]..];
            let calls = CallRequest {
                function: self.function,
                entry: self.entry,
                count: u32::try_from(count).unwrap_or(u32::MAX),
                limit: None,
                task: current_task_key(),
                cancelled,
                start_series: self.start_series,
                write: &|out| {
                    out.bytes.extend_from_slice(bytes);
                    Ok(())
                },
                on_received: &|| (),
            };
            results.reserve(count);
            let outcome = current_slot::run(&calls, &mut |input| {
                match input {
                    Ok(input) => results.push(self.decode(input)?),
                    Err(error) => failed.push((results.len() + failed.len(), error)),
                }
                Ok(())
            });
            let answered = results.len() + failed.len();
            first += answered;
            if answered > 0 {
                (retries, backoff) = (self.retries, Backoff::new(self.backoff));
            }
            let (mut read, mut failed) = (results.drain(..), failed.drain(..).peekable());
            for position in 0..answered {
                match failed.next_if(|(at, _)| *at == position) {
                    Some((_, error)) => give(Err(*error))?,
                    None => read.next().map_or(ControlFlow::Continue(()), |result| give(Ok(result)))?,
                }
            }
            match outcome {
                Ok(()) => {}
                Err(TaskError::WorkerDied { .. }) if retries > 0 && !cancelled() => {
                    retries -= 1;
                    if current_slot::last_start_failed() {
                        backoff.at_least(START_PAUSE);
                    }
                    backoff.sleep(None);
                }
                Err(error) => {
                    first += 1;
                    give(Err(error))?;
                }
            }
        }
        ControlFlow::Continue(())
    }
}
