//! Calls of functions of `kind = "process"` as tasks: `submit` and its kin, and direct calls with a deadline or a
//! priority.

use std::future::Future;
use std::sync::Arc;

use super::call_site::CallSite;
use super::process::{core, runs_in_this_process};
use super::process_task::RemoteWork;
use super::remote::Remote;
use crate::pool::queue_limit::QueuePlace;
use crate::pool::runtime_warning::warn_if_blocking;
use crate::pool::{Core, Pool};
use crate::process::{Code, is_worker_process};
use crate::task::queueing::Queueing;
use crate::task::send_proof::{AssertSend, CallProof};
use crate::task::slot::{Slot, TaskOptions};
use crate::task::{Task, TrySubmitError};

/// The direct call of a function that must have started within this many nanoseconds (`deadline`).
///
/// # Panics
///
/// As [`call_process`](super::process::call_process).
#[track_caller]
pub fn call_process_within<A: 'static, R: 'static, C: Code<A> + 'static, D: Code<R> + 'static>(
    site: CallSite,
    remote: Remote<A, R, C, D>,
    nanoseconds: u64,
    args: A,
) -> R {
    let remote = remote.placed();
    call_queued(core(site, &remote), site, remote, Queueing::within(nanoseconds), args)
}

/// The direct call as a task that is queued with a deadline or a priority.
#[track_caller]
pub(super) fn call_queued<A: 'static, R: 'static, C: Code<A> + 'static, D: Code<R> + 'static>(
    core: &Arc<Core>,
    site: CallSite,
    remote: Remote<A, R, C, D>,
    queueing: Queueing,
    args: A,
) -> R {
    if is_worker_process() {
        // It starts now, as the task that it is a part of did.
        return remote.run_local(args);
    }
    warn_if_blocking(site.function);
    remote.settle(submit_process_in(core, site, remote, queueing, args).join_in_silence())
}

/// `name::submit`, with the deadline if that is not 0.
#[track_caller]
pub fn submit_process<A: 'static, R: 'static, C: Code<A> + 'static, D: Code<R> + 'static>(
    site: CallSite,
    remote: Remote<A, R, C, D>,
    nanoseconds: u64,
    args: A,
) -> Task<R> {
    let remote = remote.placed();
    submit_process_in(core(site, &remote), site, remote, Queueing::within(nanoseconds), args)
}

/// Queues the call on this pool.
#[track_caller]
pub(super) fn submit_process_in<A: 'static, R: 'static, C: Code<A> + 'static, D: Code<R> + 'static>(
    core: &Arc<Core>,
    site: CallSite,
    remote: Remote<A, R, C, D>,
    queueing: Queueing,
    args: A,
) -> Task<R> {
    queue(core, site, remote, core.wait_for_place(queueing.until()), queueing, args)
}

/// `name::try_submit`, with the deadline if that is not 0.
///
/// # Errors
///
/// The arguments, if the pool's queue is full.
#[track_caller]
pub fn try_submit_process<A: 'static, R: 'static, C: Code<A> + 'static, D: Code<R> + 'static>(
    site: CallSite,
    remote: Remote<A, R, C, D>,
    nanoseconds: u64,
    args: A,
) -> Result<Task<R>, TrySubmitError<A>> {
    let remote = remote.placed();
    try_submit_process_in(core(site, &remote), site, remote, Queueing::within(nanoseconds), args)
}

/// As [`submit_process_in`], unless the queue is full.
#[track_caller]
pub(super) fn try_submit_process_in<A: 'static, R: 'static, C: Code<A> + 'static, D: Code<R> + 'static>(
    core: &Arc<Core>,
    site: CallSite,
    remote: Remote<A, R, C, D>,
    queueing: Queueing,
    args: A,
) -> Result<Task<R>, TrySubmitError<A>> {
    match core.try_place() {
        Ok(place) => Ok(queue(core, site, remote, place, queueing, args)),
        Err(_) => Err(TrySubmitError::new(core, args)),
    }
}

/// `name::submit_async`, with the deadline if that is not 0.
#[track_caller]
#[allow(clippy::async_yields_async, reason = "the task is awaited on its own")]
pub fn submit_process_when_possible<A: 'static, R: 'static, C: Code<A> + 'static, D: Code<R> + 'static>(
    site: CallSite,
    remote: Remote<A, R, C, D>,
    nanoseconds: u64,
    args: A,
) -> impl Future<Output = Task<R>> {
    let remote = remote.placed();
    submit_process_async_in(Arc::clone(core(site, &remote)), site, remote, Queueing::within(nanoseconds), args)
}

/// As [`submit_process_in`], without blocking the thread.
#[allow(clippy::async_yields_async, reason = "the task is awaited on its own")]
pub(super) fn submit_process_async_in<A: 'static, R: 'static, C: Code<A> + 'static, D: Code<R> + 'static>(
    core: Arc<Core>,
    site: CallSite,
    remote: Remote<A, R, C, D>,
    queueing: Queueing,
    args: A,
) -> impl Future<Output = Task<R>> + use<A, R, C, D> {
    // SAFETY: `Code<A>` and `Code<R>` are implemented for `Send` types only; a `Remote` is plain data.
    let carried = unsafe { AssertSend::new((remote, args)) };
    async move {
        let place = core.place(queueing.until()).await;
        let (remote, args) = carried.into_inner();
        queue(&core, site, remote, place, queueing, args)
    }
}

/// Queues the call at its place in the queue, if that is limited.
fn queue<A: 'static, R: 'static, C: Code<A> + 'static, D: Code<R> + 'static>(
    core: &Arc<Core>,
    site: CallSite,
    remote: Remote<A, R, C, D>,
    place: Option<QueuePlace>,
    queueing: Queueing,
    args: A,
) -> Task<R> {
    let remote = remote.with_timeout(site.options.timeout);
    if runs_in_this_process() {
        // SAFETY: `Code<A>` and `Code<R>` are implemented for `Send` types only; a `Remote` is plain data.
        let proof = unsafe { CallProof::new_unchecked() };
        let work = move || {
            drop(place);
            remote.run_local(args)
        };
        return Task::queue(core, Slot::new(Arc::clone(core), site.function, site.options, work, proof), queueing);
    }
    // SAFETY: `Code<A>` and `Code<R>` are implemented for `Send` types only; a `Remote` is plain data.
    let proof = unsafe { CallProof::new_unchecked() };
    // Only the pool's own threads run it. They have no time limit of their own: `Remote` has, and kills the worker.
    let options = TaskOptions { own_worker: true, ..TaskOptions::default() };
    let remote = remote.with_deadline(queueing.deadline);
    let slot = Slot::new(Arc::clone(core), site.function, options, RemoteWork { remote, args, place }, proof);
    Task::queue_job(core, slot, queueing)
}

/// `name::submit` of a function with `chunks`, with the deadline if that is not 0: `function` is the direct call, which
/// a thread of the default io pool makes.
///
/// # Panics
///
/// If a pool cannot be started.
#[track_caller]
pub fn submit_chunks_process<A: 'static, R: 'static, C: Code<A>, D: Code<R>>(
    site: CallSite,
    remote: Remote<A, R, C, D>,
    nanoseconds: u64,
    args: A,
    function: impl Fn(A) -> R + Send + 'static,
) -> Task<R> {
    core(site, &remote.placed());
    submit_chunks_process_in(site, &remote, Queueing::within(nanoseconds), args, function)
}

/// The direct call of a function with `chunks` that must have started within this many nanoseconds (`deadline`).
///
/// # Panics
///
/// As [`call_chunks_process`](super::process::call_chunks_process).
#[track_caller]
pub fn call_chunks_process_within<A: 'static, R: 'static, C: Code<A>, D: Code<R>>(
    site: CallSite,
    remote: Remote<A, R, C, D>,
    nanoseconds: u64,
    args: A,
    function: impl Fn(A) -> R + Send + 'static,
) -> R {
    core(site, &remote.placed());
    call_chunks_queued(site, remote, Queueing::within(nanoseconds), args, function)
}

/// The direct call of a function with chunks as a task that is queued with a deadline or a priority.
#[track_caller]
pub(super) fn call_chunks_queued<A: 'static, R: 'static, C: Code<A>, D: Code<R>>(
    site: CallSite,
    remote: Remote<A, R, C, D>,
    queueing: Queueing,
    args: A,
    function: impl Fn(A) -> R + Send + 'static,
) -> R {
    if is_worker_process() {
        return function(args);
    }
    warn_if_blocking(site.function);
    let outcome = submit_chunks_process_in(site, &remote, queueing, args, function).join_in_silence();
    remote.settle(outcome.map_err(|error| queueing.late_or(error)))
}

/// Queues the direct call of a function with chunks.
#[track_caller]
pub(super) fn submit_chunks_process_in<A: 'static, R: 'static, C: Code<A>, D: Code<R>>(
    site: CallSite,
    _: &Remote<A, R, C, D>,
    queueing: Queueing,
    args: A,
    function: impl Fn(A) -> R + Send + 'static,
) -> Task<R> {
    let core = Pool::io_default().core();
    // SAFETY: `Code<A>` and `Code<R>` are implemented for `Send` types only; the closure is `Send`.
    let proof = unsafe { CallProof::new_unchecked() };
    let work = move || function(args);
    Task::queue(core, Slot::new(Arc::clone(core), site.function, TaskOptions::default(), work, proof), queueing)
}
