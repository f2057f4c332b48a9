//! Calls that another machine runs: encoded for a backend, and answered there.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::time::Duration;

use super::Remote;
use crate::attribute::call_site::CallSite;
use crate::attribute::process_queue::submit_process_in;
use crate::error::TaskError;
use crate::pool::Pool;
use crate::process::backend::{self, Answer, BackendId, Calls, Placement, next_group};
use crate::process::codec::{Code, CodecError, Decoder, Encoder, catch_codec_panic};
use crate::task::Task;
use crate::task::cancel::cancelled;
use crate::task::queueing::Queueing;

/// The most bytes of arguments in one request to a backend, 4 MiB, unless one call has more.
const REQUEST_BYTES: usize = 4 << 20;
/// The interval at which a call of another machine looks whether it was cancelled.
const CANCEL_INTERVAL: Duration = Duration::from_millis(20);

impl<A, R, C: Code<A>, D: Code<R>> Remote<A, R, C, D> {
    /// Calls go to the cluster that the environment names, if it names one (`kind = "cluster"`).
    #[must_use]
    pub fn on_cluster(mut self) -> Self {
        self.is_for_cluster = true;
        self
    }

    /// The function on this backend, where its calls make one group.
    pub(crate) fn on_backend(mut self, backend: BackendId) -> Self {
        self.placement = Some(Placement { backend, group: next_group() });
        self
    }

    /// Whether a backend runs the calls.
    pub(crate) fn has_backend(&self) -> bool {
        self.placement.is_some()
    }

    /// The function at a call, on the cluster that the environment names if it is of `kind = "cluster"`.
    ///
    /// # Panics
    ///
    /// If the environment names a cluster that cannot be reached.
    #[track_caller]
    pub(crate) fn placed(self) -> Self {
        if !self.is_for_cluster || self.placement.is_some() {
            return self;
        }
        match backend::of_environment() {
            Ok(None) => self,
            Ok(Some(backend)) => self.on_backend(backend),
            Err(why) => panic!("`{}` cannot run: {why}", self.function),
        }
    }

    /// One call on a backend.
    pub(super) fn call_on(&self, placement: Placement, args: &RefCell<Option<A>>) -> Result<R, TaskError> {
        let encoded = match &*args.borrow() {
            Some(args) => self.encode_across(args)?,
            None => return Err(self.not_sent(&CodecError::new("they were given away before"))),
        };
        let outcome = self.run_on(placement, vec![encoded]).pop();
        self.decode_across(outcome)
    }

    /// Runs the function for each of `next` on a backend. Passes each outcome to `give` in order, until that breaks.
    /// Errors name the item, if the index of the first one is known.
    pub(super) fn call_all_on(
        &self,
        placement: Placement,
        start: Option<usize>,
        next: &mut dyn FnMut() -> Option<A>,
        give: &mut dyn FnMut(Result<R, TaskError>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut item = start;
        let mut give = |outcome: Result<R, TaskError>| {
            let index = item;
            item = index.map(|index| index + 1);
            give(match index {
                Some(index) => outcome.map_err(|error| error.of_item(index)),
                None => outcome,
            })
        };
        loop {
            let (mut arguments, mut bytes, mut refused) = (Vec::new(), 0, None);
            while bytes < REQUEST_BYTES {
                let Some(args) = next() else { break };
                match self.encode_across(&args) {
                    Ok(encoded) => {
                        bytes += encoded.len();
                        arguments.push(encoded);
                    }
                    Err(error) => {
                        refused = Some(error);
                        break;
                    }
                }
            }
            if arguments.is_empty() && refused.is_none() {
                return ControlFlow::Continue(());
            }
            for outcome in self.run_on(placement, arguments) {
                give(self.decode_across(Some(outcome)))?;
            }
            if let Some(error) = refused {
                give(Err(error))?;
            }
        }
    }

    fn run_on(&self, placement: Placement, arguments: Vec<Vec<u8>>) -> Vec<Result<Vec<u8>, TaskError>> {
        if arguments.is_empty() {
            return Vec::new();
        }
        let Placement { backend, group } = placement;
        let (entry, function, timeout) = (self.entry.name(), self.function, self.limit);
        backend::run(backend, Calls { entry, function, arguments, timeout, group })
    }

    fn encode_across(&self, args: &A) -> Result<Vec<u8>, TaskError> {
        let (mut bytes, mut attachments) = (Vec::new(), Vec::new());
        let mut out = Encoder::across_machines(&mut bytes, &mut attachments);
        let written = catch_codec_panic(self.function, || self.arguments.write(args, &mut out));
        written.map_err(|error| self.not_sent(&error))?;
        Ok(bytes)
    }

    pub(super) fn decode_across(&self, outcome: Option<Result<Vec<u8>, TaskError>>) -> Result<R, TaskError> {
        let bytes = outcome.unwrap_or_else(|| Err(TaskError::wire(self.function, "it gave no result".into())))?;
        let mut input = Decoder::new(&bytes, Vec::new());
        let read = catch_codec_panic(self.function, || {
            let result = self.result.read(&mut input)?;
            input.end("it was not read to its end")?;
            Ok(result)
        });
        read.map_err(|error| TaskError::wire(self.function, format!("its result could not be read: {error}")))
    }
}

impl<A: 'static, R: 'static, C: Code<A> + 'static, D: Code<R> + 'static> Remote<A, R, C, D> {
    /// Runs a call of another machine in a worker process of this one.
    pub(super) fn answer(mut self, call: &Answer<'_>) -> Result<Vec<u8>, TaskError> {
        // It runs here, whatever the environment of this process names.
        (self.placement, self.is_for_cluster) = (None, false);
        let site = CallSite::process(self.function);
        let site = match call.timeout {
            Some(limit) => site.timeout(u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX)),
            None => site,
        };
        let mut attempts = call.attempts.max(1);
        let result = loop {
            let mut input = Decoder::new(call.arguments, Vec::new());
            let args = catch_codec_panic(self.function, || {
                let args = self.arguments.read(&mut input)?;
                input.end("they were not read to their end")?;
                Ok(args)
            });
            let args = args
                .map_err(|error| TaskError::wire(self.function, format!("its arguments could not be read: {error}")))?;
            let pool = Pool::process_default().core().with_processes(self.function);
            let task = submit_process_in(pool, site, self, Queueing::default(), args);
            match join_unless(task, call.cancelled) {
                Err(TaskError::WorkerDied { .. }) if attempts > 1 && !(call.cancelled)() => attempts -= 1,
                Err(TaskError::WorkerDied { function, message, signal, code, .. }) if call.attempts > 1 => {
                    let message = format!("{message}, in each of {} attempts", call.attempts);
                    return Err(TaskError::worker_died(function, message, signal, code));
                }
                outcome => break outcome?,
            }
        };
        let (mut bytes, mut attachments) = (Vec::new(), Vec::new());
        let mut out = Encoder::across_machines(&mut bytes, &mut attachments);
        let written = catch_codec_panic(self.function, || self.result.write(&result, &mut out));
        written.map_err(|error| TaskError::wire(self.function, format!("its result could not be sent: {error}")))?;
        Ok(bytes)
    }
}

/// Joins the task, and cancels it if `is_cancelled` says so.
fn join_unless<R>(mut task: Task<R>, is_cancelled: &(dyn Fn() -> bool + Sync)) -> Result<R, TaskError> {
    loop {
        if is_cancelled() || cancelled() {
            task.cancel();
            return task.join();
        }
        match task.join_timeout(CANCEL_INTERVAL) {
            Ok(result) => return Ok(result),
            Err(error) => match error {
                crate::JoinTimeout::TimedOut(unfinished) => task = unfinished,
                crate::JoinTimeout::Failed(error) => return Err(error),
            },
        }
    }
}
