//! [`CallSite`]: an annotated function as the runtime sees it; and [`CheckedCall`]: one whose types may cross threads.

use std::sync::Arc;
use std::time::Duration;

use crate::map::method::ArcReceiver;
#[cfg(feature = "tokio")]
use crate::map::method::Method;
use crate::pool::Core;
use crate::pool::Pool;
use crate::pool::config;
use crate::task::send_proof::{CallProof, SendProof, Witness, call_proof};
use crate::task::slot::TaskOptions;

/// An annotated function: its path, its pool, and the options of its calls.
#[derive(Clone, Copy)]
pub struct CallSite {
    pub(crate) function: &'static str,
    pool: &'static Pool,
    pub(crate) progress: Option<&'static str>,
    pub(crate) options: TaskOptions,
    /// Whether worker processes run the function.
    is_process: bool,
}

impl CallSite {
    /// The function of this path, on this pool.
    #[must_use]
    pub fn new(function: &'static str, pool: &'static Pool) -> Self {
        Self {
            function,
            pool,
            progress: None,
            options: TaskOptions { timeout: None, own_worker: false },
            is_process: false,
        }
    }

    /// The function of this path, on the default pool for `kind = "cpu"`.
    #[must_use]
    pub fn cpu(function: &'static str) -> Self {
        Self::new(function, Pool::cpu_default())
    }

    /// The function of this path, on the default pool for `kind = "io"`.
    #[must_use]
    pub fn io(function: &'static str) -> Self {
        Self::new(function, Pool::io_default())
    }

    /// The function of this path, on the default pool for `kind = "process"`.
    #[cfg(feature = "process")]
    #[must_use]
    pub fn process(function: &'static str) -> Self {
        Self::new(function, Pool::process_default())
    }

    /// Shows a progress bar on maps and chunked calls.
    #[must_use]
    pub fn progress(self, label: &'static str) -> Self {
        Self { progress: Some(label), ..self }
    }

    /// Limits each call to this time, in nanoseconds, from its start on its worker.
    #[must_use]
    pub fn timeout(mut self, nanoseconds: u64) -> Self {
        self.options = TaskOptions { timeout: Some(Duration::from_nanos(nanoseconds)), own_worker: true };
        self
    }

    /// Runs calls on workers of the pool only, which keep state for the function.
    #[must_use]
    pub fn stateful(mut self) -> Self {
        self.options.own_worker = true;
        self
    }

    /// Whether this thread is a worker of the pool, and any will do.
    #[inline]
    pub(crate) fn is_on_worker(&self) -> bool {
        !self.options.own_worker && self.pool.is_current()
    }

    /// Whether a call runs on the calling thread: it is a worker of the pool, or runs a job of it, or all calls are
    /// serial.
    #[track_caller]
    pub(crate) fn runs_in_place(&self) -> bool {
        let core = self.core();
        config::serial() || if self.options.own_worker { core.is_own_worker() } else { core.is_current() }
    }

    /// As [`runs_in_place`](Self::runs_in_place), of a call on another pool.
    pub(crate) fn runs_in_place_on(&self, core: &Core) -> bool {
        config::serial() || if self.options.own_worker { core.is_own_worker() } else { core.is_current() }
    }

    /// The same function, run by worker processes.
    #[cfg(feature = "process")]
    pub(crate) fn in_processes(self) -> Self {
        Self { is_process: true, ..self }
    }

    /// The time limit of each call.
    pub(crate) fn timeout_or_max(self) -> Duration {
        self.options.timeout.unwrap_or(Duration::MAX)
    }

    #[track_caller]
    pub(crate) fn core(&self) -> &'static Arc<Core> {
        let core = self.pool.core();
        if self.is_process { core.with_processes(self.function) } else { core.with_threads(self.function) }
    }
}

/// A call site with the proof that its arguments and its result may move between threads.
///
/// It takes the place of `Send` bounds on the entries, so that one bad type is one error.
pub struct CheckedCall<A, R> {
    pub(crate) site: CallSite,
    pub(crate) proof: CallProof<A, R>,
}

impl<A, R> Clone for CheckedCall<A, R> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<A, R> Copy for CheckedCall<A, R> {}

impl<A, R> CheckedCall<A, R> {
    /// The call site with the proofs for its arguments and its result.
    #[must_use]
    pub fn new<W: Witness<Args = A>>(site: CallSite, arguments: W, result: SendProof<R>) -> Self {
        Self { site, proof: call_proof(arguments, result) }
    }

    /// The call of a function with compile errors, which never runs.
    ///
    /// # Panics
    ///
    /// Always.
    #[must_use]
    pub fn invalid(site: CallSite) -> Self {
        unreachable!("`{}` has mistakes, so it does not compile", site.function)
    }
}

impl<A, R> CheckedCall<(A,), R> {
    /// The call with its only argument in place of a tuple of one.
    #[must_use]
    pub fn single_argument(self) -> CheckedCall<A, R> {
        CheckedCall { site: self.site, proof: self.proof.single() }
    }
}

impl<A> CheckedCall<A, ()> {
    /// The call of a function whose result type has no name.
    ///
    /// # Safety
    ///
    /// The compiler has accepted `sent_by` for a function that returns `R`.
    #[must_use]
    pub unsafe fn with_result<R>(self) -> CheckedCall<A, R> {
        // SAFETY: this proof covers the arguments; the caller of `with_result` upholds that `sent_by` has checked `R`.
        CheckedCall { site: self.site, proof: unsafe { CallProof::new_unchecked() } }
    }
}

impl<A, R> CheckedCall<A, R> {
    /// The call of a closure that has captured its arguments.
    ///
    /// # Safety
    ///
    /// The closure captures nothing but values of the types in `A`, or references to such values that end with the
    /// call.
    #[must_use]
    pub unsafe fn for_closure<F: FnOnce() -> R>(self, _: &F) -> CheckedCall<F, R> {
        // SAFETY: the caller of `for_closure` upholds that the closure consists of the arguments that this proof
        // covers.
        CheckedCall { site: self.site, proof: unsafe { CallProof::new_unchecked() } }
    }
}

impl<A: ArcReceiver, R> CheckedCall<A, R>
where
    A::Target: Send + Sync,
{
    /// The call of a task that holds an `Arc` of the receiver.
    #[must_use]
    pub fn with_arc_receiver(self) -> CheckedCall<A::Args, R> {
        // SAFETY: the bounds make the `Arc` of the receiver `Send`; this proof covers the other arguments and the
        // result.
        CheckedCall { site: self.site, proof: unsafe { CallProof::new_unchecked() } }
    }
}

#[cfg(feature = "tokio")]
impl<A: Method, R> CheckedCall<A, R> {
    /// The call with the arguments after the receiver.
    pub(crate) fn without_receiver(self) -> CheckedCall<A::Others, R> {
        CheckedCall { site: self.site, proof: self.proof.without_receiver() }
    }
}
