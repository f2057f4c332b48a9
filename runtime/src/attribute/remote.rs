//! [`Remote`]: a function of `kind = "process"`, as its callers and its worker see it.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::retry::Pauses;
use crate::error::TaskError;
use crate::error::panics;
use crate::process::codec::{Code, Decoder, Encoder, LARGE, Misfit, begin_part, contained, end_part};
use crate::process::registry::Entry;
use crate::process::serve::Serving;
use crate::process::start_limit;
use crate::process::transport::ring::LARGEST;
use crate::process::worker_slot::{self, Calls};
use crate::sys::unwind;
use crate::task::cancel::{cancelled, current_task_key};

/// Bytes of arguments in a request of several calls, about: a part of the ring, as the worker reads while this is filled
/// again.
const BATCH: usize = 1 << 15;
/// Calls in a request.
const MOST: usize = 1 << 14;
/// The shortest first pause before a call is tried again that had no worker as none could be started.
const START_PAUSE: Duration = Duration::from_millis(50);

/// Arguments of several calls.
#[derive(Default)]
struct Packed {
    bytes: Vec<u8>,
    /// Where those of each call begin.
    starts: Vec<usize>,
}

/// Why no more arguments were packed.
enum Packing<A> {
    /// The request is long enough.
    Full,
    /// These need one of their own.
    Alone(A),
    /// One set of arguments cannot be sent at all.
    Refused(TaskError),
    /// There are no more.
    Done,
}

/// An annotated function: where it is, how its arguments and its result cross, and what it runs.
pub struct Remote<A, R, C, D> {
    function: &'static str,
    entry: &'static Entry,
    arguments: C,
    result: D,
    /// The function itself, for its worker, and for callers that are one.
    local: fn(A) -> R,
    /// What a crash is as a result, where that has a place for it.
    late: Option<fn(TaskError) -> R>,
    limit: Option<Duration>,
    /// What [`series`](crate::process::start_limit::series) was when the call was made.
    since: u32,
    /// How often a call whose worker died is run again, and how long after the first time.
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
        late: Option<fn(TaskError) -> R>,
    ) -> Self {
        Self {
            function,
            entry,
            arguments,
            result,
            local,
            late,
            limit: None,
            since: 0,
            retries: 0,
            backoff: Duration::ZERO,
            _types: PhantomData,
        }
    }

    /// Runs a call again, so often, whose worker died; after a pause that doubles each time.
    #[must_use]
    pub fn retries(mut self, times: u32, backoff_nanoseconds: u64) -> Self {
        self.retries = times;
        self.backoff = Duration::from_nanos(backoff_nanoseconds);
        self
    }

    /// A call that is made now, or several; gives each so long, and then its worker is killed.
    pub(crate) fn limit(mut self, limit: Option<Duration>) -> Self {
        self.limit = limit;
        self.since = start_limit::series();
        self
    }

    /// What [`series`](crate::process::start_limit::series) was when the call was made.
    pub(crate) fn since(&self) -> u32 {
        self.since
    }

    /// Whether calls may wait behind others on their way to a worker.
    pub(crate) fn travels(&self) -> bool {
        self.limit.is_none() && self.retries == 0
    }

    /// The function's number in the program's table.
    pub(crate) fn number(&self) -> u32 {
        self.entry.number()
    }

    /// The arguments as they are sent with others; `None` if they are too large for that.
    pub(crate) fn encode(&self, args: &A) -> Option<Result<Vec<u8>, TaskError>> {
        let mut bytes = Vec::new();
        let written = self.write(args, &mut Encoder { bytes: &mut bytes, blocks: &mut Vec::new(), outbox: None });
        match written {
            Ok(()) if bytes.len() <= BATCH => Some(Ok(bytes)),
            Ok(()) => None,
            Err(misfit) if misfit.0 == LARGE => None,
            Err(misfit) => Some(Err(self.unsent(&misfit))),
        }
    }

    /// Writes the arguments of a call that is alone in its request.
    fn write(&self, args: &A, out: &mut Encoder<'_>) -> Result<(), Misfit> {
        begin_part(out.bytes);
        contained(self.function, || self.arguments.write(args, out))
    }

    /// Reads a result, which must be all there is.
    pub(crate) fn decode(&self, input: &mut Decoder<'_>) -> Result<R, Misfit> {
        input.part("it was not read to its end", |input| self.result.read(input))
    }

    pub(crate) fn function(&self) -> &'static str {
        self.function
    }

    /// Runs the function on this very thread.
    pub(crate) fn here(&self, args: A) -> R {
        (self.local)(args)
    }

    /// Runs the function on this seat's worker; again if that dies, as often as it may be. The limit is for all tries
    /// together. Ends of channels are the worker's once it has them, so the arguments may be gone then.
    pub(crate) fn call(&self, args: &RefCell<Option<A>>) -> Result<R, TaskError> {
        let end = self.limit.map(|limit| (limit, Instant::now()));
        let left = || match end {
            None => Ok(None),
            Some((after, begun)) => match after.checked_sub(begun.elapsed()) {
                Some(left) if !left.is_zero() => Ok(Some(left)),
                _ => Err(TaskError::TimedOut { after }),
            },
        };
        let mut pauses = Pauses::new(self.backoff);
        for _ in 0..self.retries {
            match self.call_once(args, left()?) {
                Err(TaskError::WorkerDied { .. }) if !cancelled() => {
                    if worker_slot::was_unstarted() {
                        pauses.at_least(START_PAUSE);
                    }
                    pauses.next(left()?);
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
            None => Err(Misfit::new("they were given away before")),
        };
        let let_go = || {
            if self.retries == 0 {
                unwind::discard(args.take());
            }
        };
        let calls = Calls {
            function: self.function,
            entry: self.entry,
            count: 1,
            limit,
            task: current_task_key(),
            cancelled,
            since: self.since,
            write: &write,
            let_go: &let_go,
        };
        let ended = worker_slot::run(&calls, &mut |input| {
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

    /// Runs the function on several arguments on this seat's worker, in as few requests as it takes. Gives each outcome
    /// in order, until `give` breaks; a panic ends it.
    pub(crate) fn call_all(
        &self,
        next: &mut dyn FnMut() -> Option<A>,
        give: &mut dyn FnMut(Result<R, TaskError>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut packed = Packed::default();
        loop {
            let alone = self.pack(next, &mut packed);
            self.call_packed(&mut packed, give)?;
            match alone {
                Packing::Full => {}
                Packing::Alone(args) => give(self.call(&RefCell::new(Some(args))))?,
                Packing::Refused(error) => give(Err(error))?,
                Packing::Done => return ControlFlow::Continue(()),
            }
        }
    }

    /// Puts as many arguments as one request takes one behind the other.
    fn pack(&self, next: &mut dyn FnMut() -> Option<A>, packed: &mut Packed) -> Packing<A> {
        packed.bytes.clear();
        packed.starts.clear();
        // One for all of them: for each it would take as long as many a call.
        let (mut start, mut writing) = (0, false);
        match panics::catch(self.function, || self.pack_until_full(next, packed, &mut start, &mut writing)) {
            Ok(packing) => packing,
            Err(error) if writing => {
                packed.bytes.truncate(start);
                Packing::Refused(self.unsent(&Misfit::new(error)))
            }
            // The source of the items is the caller's, as its panic is.
            Err(error) => panic!("{}", error.resume()),
        }
    }

    fn pack_until_full(
        &self,
        next: &mut dyn FnMut() -> Option<A>,
        packed: &mut Packed,
        start: &mut usize,
        writing: &mut bool,
    ) -> Packing<A> {
        let room = worker_slot::room();
        while packed.bytes.len() < BATCH && (packed.starts.len() as u64) < room && packed.starts.len() < MOST {
            let Some(args) = next() else { return Packing::Done };
            if self.limit.is_some() {
                return Packing::Alone(args);
            }
            *start = begin_part(&mut packed.bytes);
            let mut blocks = Vec::new();
            let mut out = Encoder { bytes: &mut packed.bytes, blocks: &mut blocks, outbox: None };
            *writing = true;
            let written = self.arguments.write(&args, &mut out);
            *writing = false;
            let refused = match written {
                Ok(()) if packed.bytes.len() <= LARGEST => {
                    end_part(&mut packed.bytes[*start..]);
                    packed.starts.push(*start);
                    continue;
                }
                Ok(()) => None,
                Err(misfit) => Some(misfit).filter(|misfit| misfit.0 != LARGE),
            };
            packed.bytes.truncate(*start);
            return match refused {
                Some(misfit) => Packing::Refused(self.unsent(&misfit)),
                None => Packing::Alone(args),
            };
        }
        Packing::Full
    }

    /// Runs what is packed, and what is left of it again when a worker dies.
    fn call_packed(
        &self,
        packed: &mut Packed,
        give: &mut dyn FnMut(Result<R, TaskError>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let (mut first, mut retries, mut pauses) = (0, self.retries, Pauses::new(self.backoff));
        let mut results: Vec<R> = Vec::new();
        // Those that cannot be read, with their places.
        let mut unread = Vec::new();
        while first < packed.starts.len() {
            let count = packed.starts.len() - first;
            let bytes = &packed.bytes[packed.starts[first]..];
            let calls = Calls {
                function: self.function,
                entry: self.entry,
                count: u32::try_from(count).unwrap_or(u32::MAX),
                limit: None,
                task: current_task_key(),
                cancelled,
                since: self.since,
                write: &|out| {
                    out.bytes.extend_from_slice(bytes);
                    Ok(())
                },
                let_go: &|| (),
            };
            results.reserve(count);
            let outcome = worker_slot::run(&calls, &mut |input| {
                match input {
                    Ok(input) => results.push(self.decode(input)?),
                    Err(error) => unread.push((results.len() + unread.len(), error)),
                }
                Ok(())
            });
            let answered = results.len() + unread.len();
            first += answered;
            if answered > 0 {
                (retries, pauses) = (self.retries, Pauses::new(self.backoff));
            }
            let (mut read, mut unread) = (results.drain(..), unread.drain(..).peekable());
            for place in 0..answered {
                match unread.next_if(|(at, _)| *at == place) {
                    Some((_, error)) => give(Err(*error))?,
                    None => read.next().map_or(ControlFlow::Continue(()), |result| give(Ok(result)))?,
                }
            }
            match outcome {
                Ok(()) => {}
                Err(TaskError::WorkerDied { .. }) if retries > 0 && !cancelled() => {
                    retries -= 1;
                    if worker_slot::was_unstarted() {
                        pauses.at_least(START_PAUSE);
                    }
                    pauses.next(None);
                }
                Err(error) => {
                    first += 1;
                    give(Err(error))?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn unsent(&self, misfit: &Misfit) -> TaskError {
        TaskError::wire(self.function, format!("its arguments could not be sent: {misfit}"))
    }

    /// In the worker: runs what was asked for.
    pub fn serve(self, serving: &mut Serving<'_>) {
        let mut step = Step::Read;
        while serving.replies.left > 0 {
            // One for all calls, as in `pack`: a panic is the last of them.
            let panicked = panics::catch(self.function, || self.serve_all(serving, &mut step)).err();
            match (panicked, step) {
                (None, _) => return,
                (Some(error), Step::Read) => serving.refuse(&unread(&error)),
                (Some(error), Step::Run) => serving.fail(&error),
                (Some(error), Step::Write) => serving.refuse(&unwritten(&error)),
                // A result's destructor is the user's; the result is on its way.
                (Some(error), Step::Drop) => unwind::discard(error),
            }
        }
    }

    /// Until all calls are answered, or one ends them.
    fn serve_all(&self, serving: &mut Serving<'_>, step: &mut Step) {
        while serving.replies.left > 0 {
            *step = Step::Read;
            let args = match serving.arguments(|input| self.arguments.read(input)) {
                Ok(args) => args,
                Err(misfit) => return serving.refuse(&unread(&misfit)),
            };
            *step = Step::Run;
            let result = (self.local)(args);
            *step = Step::Write;
            if let Err(misfit) = serving.replies.result(|out| self.result.write(&result, out)) {
                return serving.refuse(&unwritten(&misfit));
            }
            *step = Step::Drop;
        }
    }

    /// What a direct call gives for an error: a result where that has a place for it, else a panic.
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
        match (error, self.late) {
            (TaskError::Panicked { payload, .. }, _) => std::panic::resume_unwind(payload.into_inner()),
            (error, Some(late)) => late(error),
            // Whoever cancelled it knows: nothing to tell of.
            (TaskError::Cancelled, None) => std::panic::resume_unwind(Box::new(TaskError::Cancelled.to_string())),
            (TaskError::PoolClosed, None) => panic!("`{}` cannot run: its pool was closed", self.function),
            (error, None) => panic!("{error}"),
        }
    }
}

/// What a worker is at with a call.
#[derive(Clone, Copy)]
enum Step {
    Read,
    Run,
    Write,
    Drop,
}

fn unread(why: &dyn std::fmt::Display) -> String {
    format!("its arguments could not be read: {why}")
}

fn unwritten(why: &dyn std::fmt::Display) -> String {
    format!("its result could not be sent: {why}")
}
