//! The entries for functions of `kind = "process"`: the direct call, `submit`, `map` and `chunks`.
//!
//! A call is given to a thread of the pool, which sends it to a worker process and waits for the answer. In a worker
//! process, and with `FANFOLD_SERIAL=1`, functions run in this process: worker processes have none of their own.

use std::cell::RefCell;
use std::future::Future;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::call_site::{CallSite, CheckedCall};
use super::chunks::{Chunking, CutAll, call_chunks_in};
use super::on_pool::PoolRef;
use super::process_task::RemoteWork;
use super::remote::Remote;
use crate::error::TaskError;
use crate::map::{BatchFn, Detach, Items, Map, MapFn, ProcessBatches};
use crate::pool::Pool;
use crate::pool::config;
use crate::pool::queue_limit::QueuePlace;
use crate::pool::runtime_warning::warn_if_blocking;
use crate::pool::scoped::{self, Abandoned};
use crate::pool::work_span::{Work, observed};
use crate::pool::{Core, CoreRef};
use crate::process::backend::BackendId;
use crate::process::{Code, backend, is_worker_process};
use crate::task::cancel::CurrentTask;
use crate::task::queueing::Queueing;
use crate::task::send_proof::{AssertSend, CallProof};
use crate::task::slot::{Slot, TaskOptions};
use crate::task::{Task, TrySubmitError};

/// Whether process functions run in this process: it is a worker process, or all calls are serial.
fn runs_in_this_process() -> bool {
    config::serial() || is_worker_process()
}

/// The pool of the function's worker processes; where they run in this process, its pool of threads; where a backend
/// runs them, the threads that wait for it.
#[track_caller]
fn core<A, R, C: Code<A>, D: Code<R>>(site: CallSite, remote: &Remote<A, R, C, D>) -> &'static Arc<Core> {
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

/// The direct call of a function that must have started within this many nanoseconds (`deadline`).
///
/// # Panics
///
/// As [`call_process`].
#[track_caller]
pub fn call_process_within<A, R, C: Code<A> + 'static, D: Code<R> + 'static>(
    site: CallSite,
    remote: Remote<A, R, C, D>,
    nanoseconds: u64,
    args: A,
) -> R
where
    A: 'static,
    R: 'static,
{
    let remote = remote.placed();
    call_queued(core(site, &remote), site, remote, Queueing::within(nanoseconds), args)
}

/// The direct call as a task that is queued with a deadline or a priority.
#[track_caller]
pub(super) fn call_queued<A, R, C: Code<A> + 'static, D: Code<R> + 'static>(
    core: &Arc<Core>,
    site: CallSite,
    remote: Remote<A, R, C, D>,
    queueing: Queueing,
    args: A,
) -> R
where
    A: 'static,
    R: 'static,
{
    if is_worker_process() {
        // It starts now, as the task that it is a part of did.
        return remote.run_local(args);
    }
    warn_if_blocking(site.function);
    remote.settle(submit_process_in(core, site, remote, queueing, args).join_in_silence())
}

/// `name::submit`, with the deadline if that is not 0.
#[track_caller]
pub fn submit_process<A, R, C: Code<A> + 'static, D: Code<R> + 'static>(
    site: CallSite,
    remote: Remote<A, R, C, D>,
    nanoseconds: u64,
    args: A,
) -> Task<R>
where
    A: 'static,
    R: 'static,
{
    let remote = remote.placed();
    submit_process_in(core(site, &remote), site, remote, Queueing::within(nanoseconds), args)
}

/// Queues the call on this pool.
#[track_caller]
pub(super) fn submit_process_in<A, R, C: Code<A> + 'static, D: Code<R> + 'static>(
    core: &Arc<Core>,
    site: CallSite,
    remote: Remote<A, R, C, D>,
    queueing: Queueing,
    args: A,
) -> Task<R>
where
    A: 'static,
    R: 'static,
{
    queue(core, site, remote, core.wait_for_place(queueing.until()), queueing, args)
}

/// `name::try_submit`, with the deadline if that is not 0.
///
/// # Errors
///
/// The arguments, if the pool's queue is full.
#[track_caller]
pub fn try_submit_process<A, R, C: Code<A> + 'static, D: Code<R> + 'static>(
    site: CallSite,
    remote: Remote<A, R, C, D>,
    nanoseconds: u64,
    args: A,
) -> Result<Task<R>, TrySubmitError<A>>
where
    A: 'static,
    R: 'static,
{
    let remote = remote.placed();
    try_submit_process_in(core(site, &remote), site, remote, Queueing::within(nanoseconds), args)
}

/// As [`submit_process_in`], unless the queue is full.
#[track_caller]
pub(super) fn try_submit_process_in<A, R, C: Code<A> + 'static, D: Code<R> + 'static>(
    core: &Arc<Core>,
    site: CallSite,
    remote: Remote<A, R, C, D>,
    queueing: Queueing,
    args: A,
) -> Result<Task<R>, TrySubmitError<A>>
where
    A: 'static,
    R: 'static,
{
    match core.try_place() {
        Ok(place) => Ok(queue(core, site, remote, place, queueing, args)),
        Err(_) => Err(TrySubmitError::new(core, args)),
    }
}

/// `name::submit_async`, with the deadline if that is not 0.
#[track_caller]
#[allow(clippy::async_yields_async, reason = "the task is awaited on its own")]
pub fn submit_process_when_possible<A, R, C: Code<A> + 'static, D: Code<R> + 'static>(
    site: CallSite,
    remote: Remote<A, R, C, D>,
    nanoseconds: u64,
    args: A,
) -> impl Future<Output = Task<R>>
where
    A: 'static,
    R: 'static,
{
    let remote = remote.placed();
    submit_process_async_in(Arc::clone(core(site, &remote)), site, remote, Queueing::within(nanoseconds), args)
}

/// As [`submit_process_in`], without blocking the thread.
#[allow(clippy::async_yields_async, reason = "the task is awaited on its own")]
pub(super) fn submit_process_async_in<A, R, C: Code<A> + 'static, D: Code<R> + 'static>(
    core: Arc<Core>,
    site: CallSite,
    remote: Remote<A, R, C, D>,
    queueing: Queueing,
    args: A,
) -> impl Future<Output = Task<R>> + use<A, R, C, D>
where
    A: 'static,
    R: 'static,
{
    // SAFETY: `Code<A>` and `Code<R>` are implemented for `Send` types only; a `Remote` is plain data.
    let carried = unsafe { AssertSend::new((remote, args)) };
    async move {
        let place = core.place(queueing.until()).await;
        let (remote, args) = carried.into_inner();
        queue(&core, site, remote, place, queueing, args)
    }
}

/// Queues the call at its place in the queue, if that is limited.
fn queue<A, R, C: Code<A> + 'static, D: Code<R> + 'static>(
    core: &Arc<Core>,
    site: CallSite,
    remote: Remote<A, R, C, D>,
    place: Option<QueuePlace>,
    queueing: Queueing,
    args: A,
) -> Task<R>
where
    A: 'static,
    R: 'static,
{
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

/// `name::submit` of a function with `chunks`, with the deadline if that is not 0: `function` is the direct call, which a
/// thread of the default io pool makes.
///
/// # Panics
///
/// If a pool cannot be started.
#[track_caller]
pub fn submit_chunks_process<A, R, C: Code<A>, D: Code<R>>(
    site: CallSite,
    remote: Remote<A, R, C, D>,
    nanoseconds: u64,
    args: A,
    function: impl Fn(A) -> R + Send + 'static,
) -> Task<R>
where
    A: 'static,
    R: 'static,
{
    core(site, &remote.placed());
    submit_chunks_process_in(site, &remote, Queueing::within(nanoseconds), args, function)
}

/// The direct call of a function with `chunks` that must have started within this many nanoseconds (`deadline`).
///
/// # Panics
///
/// As [`call_chunks_process`].
#[track_caller]
pub fn call_chunks_process_within<A, R, C: Code<A>, D: Code<R>>(
    site: CallSite,
    remote: Remote<A, R, C, D>,
    nanoseconds: u64,
    args: A,
    function: impl Fn(A) -> R + Send + 'static,
) -> R
where
    A: 'static,
    R: 'static,
{
    core(site, &remote.placed());
    call_chunks_queued(site, remote, Queueing::within(nanoseconds), args, function)
}

/// The direct call of a function with chunks as a task that is queued with a deadline or a priority.
#[track_caller]
pub(super) fn call_chunks_queued<A, R, C: Code<A>, D: Code<R>>(
    site: CallSite,
    remote: Remote<A, R, C, D>,
    queueing: Queueing,
    args: A,
    function: impl Fn(A) -> R + Send + 'static,
) -> R
where
    A: 'static,
    R: 'static,
{
    if is_worker_process() {
        return function(args);
    }
    warn_if_blocking(site.function);
    let outcome = submit_chunks_process_in(site, &remote, queueing, args, function).join_in_silence();
    remote.settle(outcome.map_err(|error| queueing.late_or(error)))
}

/// Queues the direct call of a function with chunks.
#[track_caller]
pub(super) fn submit_chunks_process_in<A, R, C: Code<A>, D: Code<R>>(
    site: CallSite,
    _: &Remote<A, R, C, D>,
    queueing: Queueing,
    args: A,
    function: impl Fn(A) -> R + Send + 'static,
) -> Task<R>
where
    A: 'static,
    R: 'static,
{
    let core = Pool::io_default().core();
    // SAFETY: `Code<A>` and `Code<R>` are implemented for `Send` types only; the closure is `Send`.
    let proof = unsafe { CallProof::new_unchecked() };
    let work = move || function(args);
    Task::queue(core, Slot::new(Arc::clone(core), site.function, TaskOptions::default(), work, proof), queueing)
}

/// `name::map`; `wrap` turns an item into the function's arguments.
#[track_caller]
pub fn map_process<I, M, A, T, R, C, D>(
    site: CallSite,
    remote: Remote<T, R, C, D>,
    wrap: fn(A) -> T,
    items: I,
) -> Map<I::Source, impl Detach<A, Out = R> + use<I, M, A, T, R, C, D>, A>
where
    I: Items<A, M>,
    T: 'static,
    R: 'static,
    C: Code<T> + 'static,
    D: Code<R> + 'static,
{
    let remote = remote.placed();
    map_process_in(core(site, &remote).into(), site, remote, wrap, items)
}

/// A map in worker processes of this pool.
pub(super) fn map_process_in<I, M, A, T, R, C, D>(
    core: CoreRef,
    site: CallSite,
    remote: Remote<T, R, C, D>,
    wrap: fn(A) -> T,
    items: I,
) -> Map<I::Source, impl Detach<A, Out = R> + use<I, M, A, T, R, C, D>, A>
where
    I: Items<A, M>,
    T: 'static,
    R: 'static,
    C: Code<T> + 'static,
    D: Code<R> + 'static,
{
    let function =
        ProcessMapFn { remote: remote.with_timeout(site.options.timeout), wrap, is_local: runs_in_this_process() };
    let map = Map::new(core, site.function, items.into_source(), function).stateful();
    match site.progress {
        Some(label) => map.progress(label),
        None => map,
    }
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

/// A process function as the function of a map.
struct ProcessMapFn<A, T, R, C, D> {
    remote: Remote<T, R, C, D>,
    wrap: fn(A) -> T,
    is_local: bool,
}

// SAFETY: function pointers, a flag, and a `Remote`, which is plain data and function pointers.
unsafe impl<A, T, R, C, D> Send for ProcessMapFn<A, T, R, C, D> {}
// SAFETY: function pointers, a flag, and a `Remote`, which is plain data and function pointers.
unsafe impl<A, T, R, C, D> Sync for ProcessMapFn<A, T, R, C, D> {}

impl<A, T, R, C: Code<T>, D: Code<R>> MapFn<A> for ProcessMapFn<A, T, R, C, D> {
    type Out = R;

    fn call(&self, item: A) -> R {
        let args = (self.wrap)(item);
        if self.is_local {
            self.remote.run_local(args)
        } else {
            self.remote.settle(self.remote.call(&RefCell::new(Some(args))))
        }
    }

    fn call_proof(&self) -> CallProof<A, R> {
        // SAFETY: `Code<T>`, made of `A`, and `Code<R>` are implemented for `Send` types only.
        unsafe { CallProof::new_unchecked() }
    }

    fn process_batches(&self) -> Option<&dyn ProcessBatches<A, R>> {
        if self.is_local { None } else { Some(self) }
    }

    fn runs_in_processes(&self) -> Option<bool> {
        (!self.is_local).then_some(!self.remote.has_backend())
    }

    fn use_backend(&mut self, backend: BackendId) -> bool {
        self.remote = self.remote.on_backend(backend);
        true
    }
}

impl<A, T, R, C: Code<T>, D: Code<R>> ProcessBatches<A, R> for ProcessMapFn<A, T, R, C, D> {
    fn name(&self) -> &'static str {
        self.remote.function()
    }

    fn fixed_block(&self, items: usize, workers: usize) -> Option<usize> {
        self.remote.has_backend().then(|| items.div_ceil(workers.max(1)).max(1))
    }

    fn run(&self, next: &mut dyn FnMut() -> Option<A>, give: &mut dyn FnMut(R) -> ControlFlow<()>) {
        let next = &mut || next().map(self.wrap);
        let _ = self.remote.call_all(next, &mut |outcome| give(self.remote.settle(outcome)));
    }

    fn outcomes(
        &self,
        next: &mut dyn FnMut() -> Option<A>,
        give: &mut dyn FnMut(Result<R, TaskError>) -> ControlFlow<()>,
    ) {
        let _ = self.remote.call_all(&mut || next().map(self.wrap), give);
    }
}

impl<A, T: 'static, R: 'static, C: Code<T> + 'static, D: Code<R> + 'static> Detach<A> for ProcessMapFn<A, T, R, C, D> {
    fn detach(self) -> BatchFn<A, R>
    where
        A: 'static,
    {
        Arc::new(move |items: Vec<A>, results: &mut Vec<R>| {
            let mut items = items.into_iter();
            if self.is_local {
                return results.extend(items.map(|item| self.call(item)));
            }
            self.run(&mut || items.next(), &mut |result| {
                results.push(result);
                ControlFlow::Continue(())
            });
        })
    }
}
