//! [`Remote`]: a function of `kind = "process"`, with its call in the parent and its run in the worker process.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::retry::Backoff;
use crate::error::TaskError;
use crate::error::panics;
use crate::process::codec::{Code, CodecError, Decoder, Encoder, TOO_LARGE, begin_part, catch_codec_panic, end_part};
use crate::process::registry::Entry;
use crate::process::serve::Serving;
use crate::process::transport::ring::MAX_PAYLOAD;
use crate::process::worker_slot::CallRequest;
use crate::process::{current_slot, start_limit};
use crate::sys::unwind;
use crate::task::cancel::{cancelled, current};

/// The approximate size of a batch's arguments, 32 KiB: a fraction of the ring, so that the worker reads one batch while
/// the next is written.
const BATCH_BYTES: usize = 1 << 15;
/// The most calls in a batch.
const BATCH_CALLS: usize = 1 << 14;
/// The shortest pause before a retry of a call whose worker process could not be started.
const START_PAUSE: Duration = Duration::from_millis(50);

/// The encoded arguments of several calls, which are sent in one request.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// The offset of each call's arguments.
    starts: Vec<usize>,
}

/// The reason that a batch takes no more calls.
enum BatchEnd<A> {
    /// The batch is full.
    Full,
    /// These arguments need a request of their own.
    Alone(A),
    /// The next call's arguments cannot be sent.
    Refused(TaskError),
    /// There are no more calls.
    Done,
}

/// A process function: its entry in the table of functions, the codecs of its arguments and result, and its body.
pub struct Remote<A, R, C, D> {
    function: &'static str,
    entry: &'static Entry,
    arguments: C,
    result: D,
    /// The body, for the worker process, and for calls that run in this process.
    local: fn(A) -> R,
    /// Makes a result of an error, if the result type can hold a `TaskError`.
    on_error: Option<fn(TaskError) -> R>,
    limit: Option<Duration>,
    /// The value of [`series`](crate::process::start_limit::series) at the call.
    start_series: u32,
    /// How often a call is retried after its worker died, and the first pause before that.
    retries: u32,
    backoff: Duration,
    _types: PhantomData<fn(A) -> R>,
}

impl<A, R, C: Copy, D: Copy> Clone for Remote<A, R, C, D> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<A, R, C: Copy, D: Copy> Copy for Remote<A, R, C, D> {}

impl<A, R, C: Code<A>, D: Code<R>> Remote<A, R, C, D> {
    /// The function of this path and entry.
    pub fn new(
        function: &'static str,
        entry: &'static Entry,
        arguments: C,
        result: D,
        local: fn(A) -> R,
        on_error: Option<fn(TaskError) -> R>,
    ) -> Self {
        Self {
            function,
            entry,
            arguments,
            result,
            local,
            on_error,
            limit: None,
            start_series: 0,
            retries: 0,
            backoff: Duration::ZERO,
            _types: PhantomData,
        }
    }

    /// Retries a call whose worker died up to `times` times, after a pause that doubles each time.
    #[must_use]
    pub fn retries(mut self, times: u32, backoff_nanoseconds: u64) -> Self {
        self.retries = times;
        self.backoff = Duration::from_nanos(backoff_nanoseconds);
        self
    }

    /// The function at a call, or at several, which begin now. A call that takes longer than `limit` has its worker killed.
    pub(crate) fn with_timeout(mut self, limit: Option<Duration>) -> Self {
        self.limit = limit;
        self.start_series = start_limit::series();
        self
    }

    /// The value of [`series`](crate::process::start_limit::series) at the call.
    pub(crate) fn start_series(&self) -> u32 {
        self.start_series
    }

    /// Whether a call may be sent to a worker that still runs others.
    pub(crate) fn can_be_pipelined(&self) -> bool {
        self.limit.is_none() && self.retries == 0
    }

    /// The function's index in the program's table of functions.
    pub(crate) fn entry_number(&self) -> u32 {
        self.entry.number()
    }

    /// The arguments as a message; `None` if they are too large to be sent with those of other calls.
    pub(crate) fn encode(&self, args: &A) -> Option<Result<Vec<u8>, TaskError>> {
        let mut bytes = Vec::new();
        let written = self.write(args, &mut Encoder { bytes: &mut bytes, attachments: &mut Vec::new(), outbox: None });
        match written {
            Ok(()) if bytes.len() <= BATCH_BYTES => Some(Ok(bytes)),
            Ok(()) => None,
            Err(error) if error.0 == TOO_LARGE => None,
            Err(error) => Some(Err(self.not_sent(&error))),
        }
    }

    /// Writes the arguments of a request with one call.
    fn write(&self, args: &A, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        begin_part(out.bytes);
        catch_codec_panic(self.function, || self.arguments.write(args, out))
    }

    /// Reads a result, which must be the whole of the input.
    pub(crate) fn decode(&self, input: &mut Decoder<'_>) -> Result<R, CodecError> {
        input.part("it was not read to its end", |input| self.result.read(input))
    }

    pub(crate) fn function(&self) -> &'static str {
        self.function
    }

    /// Runs the function on the calling thread.
    pub(crate) fn run_local(&self, args: A) -> R {
        (self.local)(args)
    }

    /// Runs the function on this thread's worker process, with its retries if that dies. The time limit counts for all tries
    /// together. A try takes the arguments out if they are not needed again, as the worker then owns the channel ends in
    /// them.
    pub(crate) fn call(&self, args: &RefCell<Option<A>>) -> Result<R, TaskError> {
        let end = self.limit.map(|limit| (limit, Instant::now()));
        let left = || match end {
            None => Ok(None),
            Some((after, begun)) => match after.checked_sub(begun.elapsed()) {
                Some(left) if !left.is_zero() => Ok(Some(left)),
                _ => Err(TaskError::TimedOut { after }),
            },
        };
        let mut backoff = Backoff::new(self.backoff);
        for _ in 0..self.retries {
            match self.call_once(args, left()?) {
                Err(TaskError::WorkerDied { .. }) if !cancelled() => {
                    if current_slot::last_start_failed() {
                        backoff.at_least(START_PAUSE);
                    }
                    backoff.sleep(left()?);
                }
                outcome => return outcome,
            }
            if cancelled() {
                return Err(TaskError::Cancelled);
            }
        }
        self.call_once(args, left()?)
    }

    fn call_once(&self, args: &RefCell<Option<A>>, limit: Option<Duration>) -> Result<R, TaskError> {
        let mut outcome = None;
        let write = |out: &mut Encoder<'_>| match &*args.borrow() {
            Some(args) => self.write(args, out),
            None => Err(CodecError::new("they were given away before")),
        };
        let on_received = || {
            if self.retries == 0 {
                unwind::discard(args.take());
            }
        };
        let calls = CallRequest {
            function: self.function,
            entry: self.entry,
            count: 1,
            limit,
            task: current(),
            cancelled,
            start_series: self.start_series,
            write: &write,
            on_received: &on_received,
        };
        let ended = current_slot::run(&calls, &mut |input| {
            outcome = Some(match input {
                Ok(input) => Ok(self.decode(input)?),
                Err(error) => Err(*error),
            });
            Ok(())
        });
        match (ended, self.limit) {
            (Err(TaskError::TimedOut { .. }), Some(after)) => return Err(TaskError::TimedOut { after }),
            (ended, _) => ended?,
        }
        outcome.unwrap_or_else(|| Err(TaskError::wire(self.function, "its worker gave no result".into())))
    }

    /// Runs the function for each of `next` on this thread's worker process, in batches. Passes each outcome to `give` in
    /// order, until that breaks; a panic ends the run.
    pub(crate) fn call_all(
        &self,
        next: &mut dyn FnMut() -> Option<A>,
        give: &mut dyn FnMut(Result<R, TaskError>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut batch = Batch::default();
        loop {
            let alone = self.fill_batch(next, &mut batch);
            self.call_batch(&mut batch, give)?;
            match alone {
                BatchEnd::Full => {}
                BatchEnd::Alone(args) => give(self.call(&RefCell::new(Some(args))))?,
                BatchEnd::Refused(error) => give(Err(error))?,
                BatchEnd::Done => return ControlFlow::Continue(()),
            }
        }
    }

    /// Fills a batch with the arguments of the next calls.
    fn fill_batch(&self, next: &mut dyn FnMut() -> Option<A>, batch: &mut Batch) -> BatchEnd<A> {
        batch.bytes.clear();
        batch.starts.clear();
        // One `catch` for the batch: one for each call would take as long as a short call.
        let (mut start, mut writing) = (0, false);
        match panics::catch(self.function, || self.fill(next, batch, &mut start, &mut writing)) {
            Ok(packing) => packing,
            Err(error) if writing => {
                batch.bytes.truncate(start);
                BatchEnd::Refused(self.not_sent(&CodecError::new(error)))
            }
            // The iterator of the items has panicked, which is the caller's panic.
            Err(error) => panic!("{}", error.resume()),
        }
    }

    /// Writes calls until the batch is full. `start` is the offset of the last call, and `writing` whether a panic is that
    /// of its arguments.
    fn fill(
        &self,
        next: &mut dyn FnMut() -> Option<A>,
        batch: &mut Batch,
        start: &mut usize,
        writing: &mut bool,
    ) -> BatchEnd<A> {
        let most = current_slot::remaining_tasks();
        while batch.bytes.len() < BATCH_BYTES && (batch.starts.len() as u64) < most && batch.starts.len() < BATCH_CALLS
        {
            let Some(args) = next() else { return BatchEnd::Done };
            if self.limit.is_some() {
                return BatchEnd::Alone(args);
            }
            *start = begin_part(&mut batch.bytes);
            let mut attachments = Vec::new();
            let mut out = Encoder { bytes: &mut batch.bytes, attachments: &mut attachments, outbox: None };
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
                Err(error) => Some(error).filter(|error| error.0 != TOO_LARGE),
            };
            batch.bytes.truncate(*start);
            return match error {
                Some(error) => BatchEnd::Refused(self.not_sent(&error)),
                None => BatchEnd::Alone(args),
            };
        }
        BatchEnd::Full
    }

    /// Runs the calls of a batch; if the worker dies, the calls without an answer are retried.
    fn call_batch(
        &self,
        batch: &mut Batch,
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
                task: current(),
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

    fn not_sent(&self, error: &CodecError) -> TaskError {
        TaskError::wire(self.function, format!("its arguments could not be sent: {error}"))
    }

    /// In the worker process: runs the calls of a request.
    pub fn serve(self, serving: &mut Serving<'_>) {
        let mut step = Step::Read;
        while serving.replies.left > 0 {
            // One `catch` for all calls, as in `fill_batch`. After a panic the loop goes on with the next call.
            let panicked = panics::catch(self.function, || self.serve_all(serving, &mut step)).err();
            match (panicked, step) {
                (None, _) => return,
                (Some(error), Step::Read) => serving.refuse(&not_read(&error)),
                (Some(error), Step::Run) => serving.fail(&error),
                (Some(error), Step::Write) => serving.refuse(&not_written(&error)),
                // The result's destructor has panicked; the result was sent before.
                (Some(error), Step::Drop) => unwind::discard(error),
            }
        }
    }

    /// Runs calls until all are answered, or one cannot be.
    fn serve_all(&self, serving: &mut Serving<'_>, step: &mut Step) {
        while serving.replies.left > 0 {
            *step = Step::Read;
            let args = match serving.arguments(|input| self.arguments.read(input)) {
                Ok(args) => args,
                Err(error) => return serving.refuse(&not_read(&error)),
            };
            *step = Step::Run;
            let result = (self.local)(args);
            *step = Step::Write;
            if let Err(error) = serving.replies.result(|out| self.result.write(&result, out)) {
                return serving.refuse(&not_written(&error));
            }
            *step = Step::Drop;
        }
    }

    /// The result of a call. An error becomes a result if the type can hold one, else a panic.
    #[inline]
    #[track_caller]
    pub(crate) fn settle(&self, outcome: Result<R, TaskError>) -> R {
        match outcome {
            Ok(result) => result,
            Err(error) => self.settle_error(error),
        }
    }

    #[cold]
    #[track_caller]
    fn settle_error(&self, error: TaskError) -> R {
        match (error, self.on_error) {
            (TaskError::Panicked { payload, .. }, _) => std::panic::resume_unwind(payload.into_inner()),
            (error, Some(on_error)) => on_error(error),
            // Without the panic hook's message: the cancel was asked for.
            (TaskError::Cancelled, None) => std::panic::resume_unwind(Box::new(TaskError::Cancelled.to_string())),
            (TaskError::PoolClosed, None) => panic!("`{}` cannot run: its pool was closed", self.function),
            (error, None) => panic!("{error}"),
        }
    }
}

/// The step of a call that the worker is in.
#[derive(Clone, Copy)]
enum Step {
    Read,
    Run,
    Write,
    Drop,
}

fn not_read(why: &dyn std::fmt::Display) -> String {
    format!("its arguments could not be read: {why}")
}

fn not_written(why: &dyn std::fmt::Display) -> String {
    format!("its result could not be sent: {why}")
}
