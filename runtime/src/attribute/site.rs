//! What the attribute's code tells the runtime of a function, with the proof that its calls may cross.

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

/// What an annotated function's code knows of itself.
#[derive(Clone, Copy)]
pub struct Site {
    pub(crate) function: &'static str,
    pool: &'static Pool,
    pub(crate) progress: Option<&'static str>,
    pub(crate) terms: TaskOptions,
    /// Whether other processes run the function.
    abroad: bool,
}

impl Site {
    /// The function of this path, on this pool.
    #[must_use]
    pub fn new(function: &'static str, pool: &'static Pool) -> Self {
        Self { function, pool, progress: None, terms: TaskOptions { timeout: None, own_worker: false }, abroad: false }
    }

    /// The function of this path, which computes.
    #[must_use]
    pub fn cpu(function: &'static str) -> Self {
        Self::new(function, Pool::cpu_default())
    }

    /// The function of this path, which waits.
    #[must_use]
    pub fn io(function: &'static str) -> Self {
        Self::new(function, Pool::io_default())
    }

    /// The function of this path, which another process runs.
    #[cfg(feature = "process")]
    #[must_use]
    pub fn process(function: &'static str) -> Self {
        Self::new(function, Pool::process_default())
    }

    /// Shows a bar on maps and chunked calls.
    #[must_use]
    pub fn progress(self, label: &'static str) -> Self {
        Self { progress: Some(label), ..self }
    }

    /// Gives each call so long, in nanoseconds, from its start on its worker.
    #[must_use]
    pub fn timeout(mut self, nanoseconds: u64) -> Self {
        self.terms = TaskOptions { timeout: Some(Duration::from_nanos(nanoseconds)), own_worker: true };
        self
    }

    /// Has calls run on workers that keep state for the function.
    #[must_use]
    pub fn stateful(mut self) -> Self {
        self.terms.own_worker = true;
        self
    }

    /// Whether a call may run here and now: on a worker of the pool, or for it.
    #[track_caller]
    pub(crate) fn is_here(&self) -> bool {
        let core = self.core();
        config::serial() || if self.terms.own_worker { core.is_own_worker() } else { core.is_current() }
    }

    /// The function as one that other processes run.
    #[cfg(feature = "process")]
    pub(crate) fn abroad(self) -> Self {
        Self { abroad: true, ..self }
    }

    /// The same function on another pool.
    #[cfg(feature = "process")]
    pub(crate) fn on(self, pool: &'static Pool) -> Self {
        Self { pool, ..self }
    }

    /// The time that each call has.
    pub(crate) fn limit(self) -> Duration {
        self.terms.timeout.unwrap_or(Duration::MAX)
    }

    #[track_caller]
    pub(crate) fn core(&self) -> &'static Arc<Core> {
        let core = self.pool.core();
        if self.abroad { core.with_processes(self.function) } else { core.with_threads(self.function) }
    }
}

/// A function that may be called on a worker with arguments of these types.
pub struct Call<A, R> {
    pub(crate) site: Site,
    pub(crate) proof: CallProof<A, R>,
}

impl<A, R> Clone for Call<A, R> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<A, R> Copy for Call<A, R> {}

impl<A, R> Call<A, R> {
    /// The call, from the proofs for the arguments and for the result.
    #[must_use]
    pub fn new<W: Witness<Args = A>>(site: Site, arguments: W, result: SendProof<R>) -> Self {
        Self { site, proof: call_proof(arguments, result) }
    }

    /// Stands for one in a function with mistakes, which is never compiled.
    ///
    /// # Panics
    ///
    /// Always.
    #[must_use]
    pub fn unchecked(site: Site) -> Self {
        unreachable!("`{}` has mistakes, so it does not compile", site.function)
    }
}

impl<A, R> Call<(A,), R> {
    /// With the one argument itself.
    #[must_use]
    pub fn single(self) -> Call<A, R> {
        Call { site: self.site, proof: self.proof.single() }
    }
}

impl<A> Call<A, ()> {
    /// The call of a function whose result has no name.
    ///
    /// # Safety
    ///
    /// `sent_by` was asked for the function that returns `R`.
    #[must_use]
    pub unsafe fn returns<R>(self) -> Call<A, R> {
        // SAFETY: the arguments are those of this proof, and the caller stands for the result.
        Call { site: self.site, proof: unsafe { CallProof::new_unchecked() } }
    }
}

impl<A, R> Call<A, R> {
    /// The call of a closure that takes its arguments along instead of being given them.
    ///
    /// # Safety
    ///
    /// The closure holds nothing but values of the types in `A`, or references to them that end with the call.
    #[must_use]
    pub unsafe fn captured<F: FnOnce() -> R>(self, _: &F) -> Call<F, R> {
        // SAFETY: the caller promises that the closure is made of the arguments of this proof.
        Call { site: self.site, proof: unsafe { CallProof::new_unchecked() } }
    }
}

impl<A: ArcReceiver, R> Call<A, R>
where
    A::Target: Send + Sync,
{
    /// The call of a task that owns a share of the receiver.
    #[must_use]
    pub fn counted(self) -> Call<A::Args, R> {
        // SAFETY: an `Arc` of what is `Send` and `Sync` is `Send`; the other arguments are those of this proof.
        Call { site: self.site, proof: unsafe { CallProof::new_unchecked() } }
    }
}

#[cfg(feature = "tokio")]
impl<A: Method, R> Call<A, R> {
    /// The call without the receiver.
    pub(crate) fn rest(self) -> Call<A::Others, R> {
        Call { site: self.site, proof: self.proof.without_receiver() }
    }
}
