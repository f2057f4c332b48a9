//! [`Remote`]: a function of `kind = "process"`, as its callers and its worker see it.

use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::time::Duration;

use super::registry::Entry;
use super::ring::LARGEST;
use super::seat::{self, Calls};
use super::serve::Serving;
use super::wire::{Code, Decoder, Encoder, LARGE, Misfit, contained};
use crate::current::current;
use crate::error::TaskError;
use crate::panics;

/// Bytes of arguments in a request of several calls, about: a part of the ring, as the worker reads while this is filled
/// again.
const BATCH: usize = 1 << 15;
/// Calls in a request.
const MOST: usize = 1 << 14;

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
    /// How often a call whose worker died is run again.
    retries: u32,
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
        Self { function, entry, arguments, result, local, late, limit: None, retries: 0, _types: PhantomData }
    }

    /// Runs a call again, so often, whose worker died.
    #[must_use]
    pub fn retries(mut self, times: u32) -> Self {
        self.retries = times;
        self
    }

    /// Gives each call so long; then its worker is killed.
    pub(crate) fn limit(mut self, limit: Option<Duration>) -> Self {
        self.limit = limit;
        self
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

    /// Writes the arguments of a call.
    fn write(&self, args: &A, out: &mut Encoder<'_>) -> Result<(), Misfit> {
        contained(self.function, || self.arguments.write(args, out))
    }

    /// Reads a result.
    pub(crate) fn decode(&self, input: &mut Decoder<'_>) -> Result<R, Misfit> {
        self.result.read(input)
    }

    pub(crate) fn function(&self) -> &'static str {
        self.function
    }

    /// Runs the function on this very thread.
    pub(crate) fn here(&self, args: A) -> R {
        (self.local)(args)
    }

    /// Runs the function on this seat's worker; again if that dies, as often as it may be.
    pub(crate) fn call(&self, args: &A) -> Result<R, TaskError> {
        for _ in 0..self.retries {
            match self.call_once(args) {
                Err(TaskError::WorkerDied { .. }) => {}
                outcome => return outcome,
            }
        }
        self.call_once(args)
    }

    fn call_once(&self, args: &A) -> Result<R, TaskError> {
        let mut result = None;
        let calls = Calls {
            function: self.function,
            entry: self.entry,
            count: 1,
            limit: self.limit,
            task: current(),
            write: &|out| self.write(args, out),
        };
        seat::run(&calls, &mut |input| {
            result = Some(self.decode(input)?);
            Ok(())
        })?;
        result.ok_or_else(|| TaskError::wire(self.function, "its worker gave no result".into()))
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
                Packing::Alone(args) => give(self.call(&args))?,
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
        let room = seat::room();
        while packed.bytes.len() < BATCH && (packed.starts.len() as u64) < room && packed.starts.len() < MOST {
            let Some(args) = next() else { return Packing::Done };
            if self.limit.is_some() {
                return Packing::Alone(args);
            }
            *start = packed.bytes.len();
            let mut blocks = Vec::new();
            let mut out = Encoder { bytes: &mut packed.bytes, blocks: &mut blocks, outbox: None };
            *writing = true;
            let written = self.arguments.write(&args, &mut out);
            *writing = false;
            let refused = match written {
                Ok(()) if packed.bytes.len() <= LARGEST => {
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
        let (mut first, mut retries) = (0, self.retries);
        let mut results: Vec<R> = Vec::new();
        while first < packed.starts.len() {
            let count = packed.starts.len() - first;
            let bytes = &packed.bytes[packed.starts[first]..];
            let calls = Calls {
                function: self.function,
                entry: self.entry,
                count: u32::try_from(count).unwrap_or(u32::MAX),
                limit: None,
                task: current(),
                write: &|out| {
                    out.bytes.extend_from_slice(bytes);
                    Ok(())
                },
            };
            results.reserve(count);
            let outcome = seat::run(&calls, &mut |input| {
                results.push(self.decode(input)?);
                Ok(())
            });
            first += results.len();
            retries = if results.is_empty() { retries } else { self.retries };
            for result in results.drain(..) {
                give(Ok(result))?;
            }
            match outcome {
                Ok(()) => {}
                Err(TaskError::WorkerDied { .. }) if retries > 0 => retries -= 1,
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
                (Some(error), Step::Drop) => panics::discard(error),
            }
        }
    }

    /// Until all calls are answered, or one ends them.
    fn serve_all(&self, serving: &mut Serving<'_>, step: &mut Step) {
        while serving.replies.left > 0 {
            *step = Step::Read;
            let args = match self.arguments.read(&mut serving.input) {
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
    pub(crate) fn settle(&self, outcome: Result<R, TaskError>) -> R {
        outcome.unwrap_or_else(|error| self.settle_error(error))
    }

    #[cold]
    fn settle_error(&self, error: TaskError) -> R {
        match (error, self.late) {
            (TaskError::Panicked { payload, .. }, _) => std::panic::resume_unwind(payload.into_inner()),
            (error, Some(late)) => late(error),
            // Whoever cancelled it knows: nothing to tell of.
            (TaskError::Cancelled, None) => std::panic::resume_unwind(Box::new(TaskError::Cancelled.to_string())),
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
