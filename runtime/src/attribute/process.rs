//! The entries for direct calls of functions of `kind = "process"`, with and without `chunks`. `process_queue.rs` has
//! those for calls as tasks, `process_map.rs` those for maps.
//!
//! A call is given to a thread of the pool, which sends it to a worker process and waits for the answer. In a worker
//! process, and with `FANFOLD_SERIAL=1`, functions run in this process: worker processes have none of their own.

use std::cell::RefCell;
use std::sync::Arc;

use super::call_site::{CallSite, CheckedCall};
use super::chunks::{Chunking, CutAll, call_chunks_in};
use super::on_pool::PoolRef;
use super::remote::Remote;
use crate::error::TaskError;
use crate::pool::Core;
use crate::pool::Pool;
use crate::pool::config;
use crate::pool::runtime_warning::warn_if_blocking;
use crate::pool::scoped::{self, Abandoned};
use crate::pool::work_span::{Work, observed};
use crate::process::{Code, backend, is_worker_process};
use crate::task::cancel::CurrentTask;
use crate::task::send_proof::{AssertSend, CallProof};

/// Whether process functions run in this process: it is a worker process, or all calls are serial.
pub(super) fn runs_in_this_process() -> bool {
    config::serial() || is_worker_process()
}

/// The pool of the function's worker processes; where they run in this process, its pool of threads; where a backend
/// runs them, the threads that wait for it.
#[track_caller]
pub(super) fn core<A, R, C: Code<A>, D: Code<R>>(site: CallSite, remote: &Remote<A, R, C, D>) -> &'static Arc<Core> {
    if runs_in_this_process() {
        Pool::cpu_default().core()
    } else if remote.has_backend() {
        backend::waiting_pool().core()
    } else {
        site.in_processes().core()
    }
}

/// As [`core`], for a pool that was chosen at run time.
#[track_caller]
pub(super) fn core_of<'p>(pool: &'p Pool, function: &str) -> &'p Arc<Core> {
    let core = pool.core().with_processes(function);
    if runs_in_this_process() { Pool::cpu_default().core() } else { core }
}

/// The direct call: a worker process runs the function; this thread waits.
///
/// # Panics
///
/// With the message of the function's own panic. If the pool cannot start. If the worker dies, or an argument or the
/// result cannot be sent, unless the result type can hold a `TaskError`.
#[track_caller]
pub fn call_process<A, R, C: Code<A>, D: Code<R>>(site: CallSite, remote: Remote<A, R, C, D>, args: A) -> R {
    if runs_in_this_process() {
        return remote.run_local(args);
    }
    let remote = remote.placed();
    call_process_in(core(site, &remote), site, remote, args)
}

/// The direct call in a worker process of this pool.
#[track_caller]
pub(super) fn call_process_in<A, R, C: Code<A>, D: Code<R>>(
    core: &Arc<Core>,
    site: CallSite,
    remote: Remote<A, R, C, D>,
    args: A,
) -> R {
    if runs_in_this_process() {
        return remote.run_local(args);
    }
    warn_if_blocking(site.function);
    let remote = remote.with_timeout(site.options.timeout);
    let args = RefCell::new(Some(args));
    if remote.has_backend() {
        return remote.settle(remote.call(&args));
    }
    let call = || {
        // A direct call is not the task that this thread runs, so cancelling that task does not stop it.
        let _no_task = CurrentTask::none();
        observed(Work::call(site.function, core), None, || remote.call(&args))
    };
    if let Some(outcome) = core.try_directly(call) {
        return remote.settle(outcome);
    }
    // SAFETY: `Code<A>` and `Code<R>` are implemented for `Send` types only; the other fields of a `Remote` are plain
    // data and function pointers.
    let carried = unsafe { AssertSend::new((remote, args)) };
    let done = scoped::run_on(core, false, move || {
        let (remote, args) = carried.into_inner();
        let outcome = observed(Work::call(site.function, core), None, || remote.call(&args));
        // SAFETY: `Code<R>` is implemented for `Send` types only, and a `TaskError` is `Send`.
        unsafe { AssertSend::new(outcome) }
    });
    remote.settle(match done {
        Ok(outcome) => outcome.into_inner(),
        Err(Abandoned) => Err(TaskError::PoolClosed),
    })
}

/// The direct call of a function with `chunks`.
///
/// # Panics
///
/// As [`call_process`], and as [`call_chunks`](super::chunks::call_chunks).
#[track_caller]
pub fn call_chunks_process<S, X: CutAll<S>, A, R, C: Code<A>, D: Code<R>>(
    site: CallSite,
    remote: Remote<A, R, C, D>,
    chunking: Chunking<'_, X, R>,
    whole: S,
    with: impl FnMut(S) -> A,
) -> R {
    let remote = remote.placed();
    call_chunks_process_in(core(site, &remote), site, remote, chunking, whole, with)
}

/// The direct call of a function with `chunks`, on a pool that was chosen at run time.
///
/// # Panics
///
/// As [`call_chunks_process`].
#[track_caller]
pub fn call_chunks_process_on<S, X: CutAll<S>, A, R, C: Code<A>, D: Code<R>>(
    PoolRef(core): PoolRef<'_>,
    site: CallSite,
    remote: Remote<A, R, C, D>,
    chunking: Chunking<'_, X, R>,
    whole: S,
    with: impl FnMut(S) -> A,
) -> R {
    call_chunks_process_in(core, site, remote, chunking, whole, with)
}

#[track_caller]
fn call_chunks_process_in<S, X: CutAll<S>, A, R, C: Code<A>, D: Code<R>>(
    core: &Arc<Core>,
    site: CallSite,
    remote: Remote<A, R, C, D>,
    chunking: Chunking<'_, X, R>,
    whole: S,
    with: impl FnMut(S) -> A,
) -> R {
    let is_local = runs_in_this_process();
    let remote = remote.with_timeout(site.options.timeout);
    // SAFETY: `Code<A>` and `Code<R>` are implemented for `Send` types only.
    let proof = unsafe { CallProof::new_unchecked() };
    // SAFETY: a `Remote` is plain data and function pointers, which threads may share.
    let remote = unsafe { AssertSend::new(remote) };
    let function = move |args| {
        let remote = remote.get();
        if is_local { remote.run_local(args) } else { remote.settle(remote.call(&RefCell::new(Some(args)))) }
    };
    call_chunks_in(core, CheckedCall { site, proof }, chunking, whole, with, function)
}
