//! [`Remote`]: a function of `kind = "process"`, with its call in the parent and its run in the worker process.

mod batch;
mod on_backend;
mod serve;

use std::cell::RefCell;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use super::retry::Backoff;
use crate::error::TaskError;
use crate::map::end_cancelled_task;
use crate::process::backend::{BackendId, Placement};
use crate::process::codec::{Code, CodecError, Decoder, Encoder, TOO_LARGE, begin_part, catch_codec_panic};
use crate::process::current_slot;
use crate::process::registry::Entry;
use crate::process::start_limit;
use crate::process::worker_slot::CallRequest;
use crate::sys::unwind;
use crate::task::Deadline;
use crate::task::cancel::{cancelled, current_task_key};
use batch::BATCH_BYTES;

/// The shortest pause before a retry of a call whose worker process could not be started.
const START_PAUSE: Duration = Duration::from_millis(50);

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
    /// When the call must have ended, in addition.
    deadline: Option<Deadline>,
    /// The value of [`series`](crate::process::start_limit::series) at the call.
    start_series: u32,
    /// How often a call is retried after its worker died, and the first pause before that.
    retries: u32,
    backoff: Duration,
    /// Whether calls go to the cluster that the environment names.
    is_for_cluster: bool,
    /// The backend that runs the calls instead of a worker process of this machine.
    placement: Option<Placement>,
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
            deadline: None,
            start_series: 0,
            retries: 0,
            backoff: Duration::ZERO,
            is_for_cluster: false,
            placement: None,
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

    /// The function at a call, or at several, which begin now. A call that takes longer than `limit` has its worker
    /// killed.
    pub(crate) fn with_timeout(mut self, limit: Option<Duration>) -> Self {
        self.limit = limit;
        self.start_series = start_limit::series();
        self
    }

    /// The function at a call that must have started by then. If it runs by then its worker is killed.
    pub(crate) fn with_deadline(self, deadline: Option<Deadline>) -> Self {
        Self { deadline, ..self }
    }

    /// How long the call had, if its deadline is over.
    pub(crate) fn missed_deadline(&self) -> Option<Duration> {
        self.deadline.and_then(Deadline::missed)
    }

    /// The value of [`series`](crate::process::start_limit::series) at the call.
    pub(crate) fn start_series(&self) -> u32 {
        self.start_series
    }

    /// Whether a call may be sent to a worker that still runs others.
    pub(crate) fn can_be_pipelined(&self) -> bool {
        self.limit.is_none() && self.deadline.is_none() && self.retries == 0
    }

    /// The function's index in the program's table of functions.
    pub(crate) fn entry_number(&self) -> u32 {
        self.entry.number()
    }

    /// The arguments as a message; `None` if they are too large to be sent with those of other calls.
    pub(crate) fn encode(&self, args: &A) -> Option<Result<Vec<u8>, TaskError>> {
        let mut bytes = Vec::new();
        let written = self.write(args, &mut Encoder::new(&mut bytes, &mut Vec::new(), None));
        match written {
            Ok(()) if bytes.len() <= BATCH_BYTES => Some(Ok(bytes)),
            Ok(()) => None,
            Err(error) if *error.0 == TOO_LARGE => None,
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

    /// Runs the function on this thread's worker process, with its retries if that dies. The time limit counts for all
    /// tries together. A try takes the arguments out if they are not needed again, as the worker then owns the channel
    /// ends in them.
    pub(crate) fn call(&self, args: &RefCell<Option<A>>) -> Result<R, TaskError> {
        if let Some(placement) = self.placement {
            return self.call_on(placement, args);
        }
        let limit = self.limit.and_then(|limit| Some((Instant::now().checked_add(limit)?, limit)));
        let deadline = self.deadline.and_then(Deadline::end);
        // The earlier of the two, with the time that it gave the call.
        let end = limit.into_iter().chain(deadline).min();
        let left = || match end {
            None => Ok(None),
            Some((at, after)) => match at.checked_duration_since(Instant::now()) {
                Some(left) if !left.is_zero() => Ok(Some((left, after))),
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
                    backoff.sleep(left()?.map(|(left, _)| left));
                }
                outcome => return outcome,
            }
            if cancelled() {
                return Err(TaskError::Cancelled);
            }
        }
        self.call_once(args, left()?)
    }

    /// One try, which has this time of all that the call had.
    fn call_once(&self, args: &RefCell<Option<A>>, limit: Option<(Duration, Duration)>) -> Result<R, TaskError> {
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
            limit: limit.map(|(left, _)| left),
            task: current_task_key(),
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
        match (ended, limit) {
            (Err(TaskError::TimedOut { .. }), Some((_, after))) => return Err(TaskError::TimedOut { after }),
            (ended, _) => ended?,
        }
        outcome.unwrap_or_else(|| Err(TaskError::wire(self.function, "its worker gave no result".into())))
    }

    fn not_sent(&self, error: &CodecError) -> TaskError {
        TaskError::wire(self.function, format!("its arguments could not be sent: {error}"))
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
            (TaskError::Cancelled, None) => {
                // Inside a cancelled task this ends the task, without the panic hook's message.
                end_cancelled_task();
                panic!(
                    "`{}` was stopped: its pool was closed by `kill` or `shutdown` while it ran: close the pool after \
                     the call, or return `Result<_, E>` with `E: From<fanfold::TaskError>` to get an error",
                    self.function
                )
            }
            (TaskError::PoolClosed, None) => {
                panic!(
                    "`{}` cannot run: its pool was closed: call it before `shutdown`, or on another pool",
                    self.function
                )
            }
            (error, None) => panic!("{error}"),
        }
    }
}

/// A process function as a value: `name::task()`. It names the function for other processes and machines, and knows its
/// types.
///
/// Chunks of a frame, and scans, take it on a cluster: `df.par_chunks(8).on(&cluster).map(enrich::task())`.
///
/// # Examples
///
/// ```
/// #[fanfold::parallel(kind = "process")]
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// assert!(square::task().function().ends_with("::square"));
/// ```
pub struct RemoteTask<A, R, C, D>(Remote<A, R, C, D>);

impl<A, R, C: Copy, D: Copy> Clone for RemoteTask<A, R, C, D> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<A, R, C: Copy, D: Copy> Copy for RemoteTask<A, R, C, D> {}

impl<A, R, C: Code<A>, D: Code<R>> RemoteTask<A, R, C, D> {
    #[doc(hidden)]
    #[must_use]
    pub fn new(remote: Remote<A, R, C, D>) -> Self {
        Self(remote)
    }

    #[doc(hidden)]
    #[must_use]
    pub fn timeout(self, nanoseconds: u64) -> Self {
        Self(self.0.with_timeout(Some(Duration::from_nanos(nanoseconds))))
    }

    /// The path of the function, as `module::name`.
    pub fn function(&self) -> &'static str {
        self.0.function
    }

    /// The name of the function's entry in the program's table, for [`backend::answer`](crate::backend::answer).
    pub fn entry(&self) -> &'static str {
        self.0.entry.name()
    }

    /// The time limit of a call.
    pub fn time_limit(&self) -> Option<Duration> {
        self.0.limit
    }

    /// The function on a backend, where its calls make one group.
    #[must_use]
    pub fn on_backend(self, backend: BackendId) -> Self {
        Self(self.0.on_backend(backend))
    }

    /// Runs the function where it was placed, else in a worker process of this machine, and waits.
    ///
    /// # Errors
    ///
    /// Why the call has no result, as of a task.
    pub fn call(&self, args: A) -> Result<R, TaskError> {
        self.0.call(&RefCell::new(Some(args)))
    }

    /// Reads a result that [`backend::answer`](crate::backend::answer) has encoded.
    ///
    /// # Errors
    ///
    /// If the bytes are no result of this function.
    pub fn decode(&self, bytes: Vec<u8>) -> Result<R, TaskError> {
        self.0.decode_across(Some(Ok(bytes)))
    }
}

impl<A, R, C, D> std::fmt::Debug for RemoteTask<A, R, C, D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RemoteTask").field(&self.0.function).finish()
    }
}
