//! [`Remote`]: a function of `kind = "process"`, as its callers and its worker see it.

use std::marker::PhantomData;
use std::time::Duration;

use super::registry::Entry;
use super::seat::{self, Calls};
use super::serve::Serving;
use super::wire::Code;
use crate::current::current;
use crate::error::TaskError;
use crate::panics;

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
            write: &|out| self.arguments.write(args, out),
        };
        seat::run(&calls, &mut |input| {
            result = Some(self.result.read(input)?);
            Ok(())
        })?;
        result.ok_or_else(|| TaskError::wire(self.function, "its worker gave no result".into()))
    }

    /// In the worker: runs what was asked for.
    pub fn serve(self, serving: &mut Serving<'_>) {
        for _ in 0..serving.count {
            let args = match self.arguments.read(&mut serving.input) {
                Ok(args) => args,
                Err(misfit) => return serving.refuse(&format!("its arguments could not be read: {misfit}")),
            };
            let ran = panics::catch(self.function, || (self.local)(args));
            let written = match &ran {
                Ok(result) => serving.replies.result(|out| self.result.write(result, out)),
                Err(error) => return serving.fail(error),
            };
            if let Err(misfit) = written {
                return serving.refuse(&format!("its result could not be sent: {misfit}"));
            }
            // A result's destructor is the user's.
            panics::discard(ran);
        }
    }

    /// What a direct call gives for an error: a result where that has a place for it, else a panic.
    pub(crate) fn settle(&self, outcome: Result<R, TaskError>) -> R {
        match (outcome, self.late) {
            (Ok(result), _) => result,
            (Err(TaskError::Panicked { payload, .. }), _) => std::panic::resume_unwind(payload.into_inner()),
            (Err(error), Some(late)) => late(error),
            (Err(error), None) => panic!("{error}"),
        }
    }
}
