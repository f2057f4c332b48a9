//! The calls of a request, run in the worker process.

use super::Remote;
use crate::error::panics;
use crate::process::codec::Code;
use crate::process::serve::{Serving, WorkerRequest};
use crate::sys::unwind;

impl<A: 'static, R: 'static, C: Code<A> + 'static, D: Code<R> + 'static> Remote<A, R, C, D> {
    /// Answers a request in the worker process, or a call of another machine.
    pub fn serve(self, serving: &mut Serving<'_>) {
        match serving {
            Serving::Worker(request) => self.serve_request(request),
            Serving::Encoded(call) => call.outcome = Some(self.answer(call.call)),
        }
    }
}

impl<A, R, C: Code<A>, D: Code<R>> Remote<A, R, C, D> {
    /// In the worker process: runs the calls of a request.
    fn serve_request(self, serving: &mut WorkerRequest<'_>) {
        let mut step = CallStep::Read;
        while serving.replies.left > 0 {
            // One `catch` for all calls, as in `fill_batch`. After a panic the loop goes on with the next call.
            let panicked = panics::catch(self.function, || self.serve_all(serving, &mut step)).err();
            match (panicked, step) {
                (None, _) => return,
                (Some(error), CallStep::Read) => serving.refuse(&not_read(&error)),
                (Some(error), CallStep::Run) => serving.fail(&error),
                (Some(error), CallStep::Write) => serving.refuse(&not_written(&error)),
                // The result's destructor has panicked; the result was sent before.
                (Some(error), CallStep::Drop) => unwind::discard(error),
            }
        }
    }

    /// Runs calls until all are answered, or one cannot be.
    fn serve_all(&self, serving: &mut WorkerRequest<'_>, step: &mut CallStep) {
        while serving.replies.left > 0 {
            *step = CallStep::Read;
            let args = match serving.arguments(|input| self.arguments.read(input)) {
                Ok(args) => args,
                Err(error) => return serving.refuse(&not_read(&error)),
            };
            *step = CallStep::Run;
            let result = (self.local)(args);
            *step = CallStep::Write;
            if let Err(error) = serving.replies.result(|out| self.result.write(&result, out)) {
                return serving.refuse(&not_written(&error));
            }
            *step = CallStep::Drop;
        }
    }
}

/// The step of a call that the worker is in.
#[derive(Clone, Copy)]
enum CallStep {
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
