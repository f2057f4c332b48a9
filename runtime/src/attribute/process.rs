//! The entries for functions of `kind = "process"`: the direct call, `submit`, `map` and `chunks`.
//!
//! A call is given to a thread of the pool, which sends it to a worker process and waits for the answer. In a worker
//! process, and with `FANFOLD_SERIAL=1`, functions run in this process: worker processes have none of their own.

use std::cell::RefCell;
use std::future::Future;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::call_site::{CallSite, CheckedCall};
use super::chunks::{Chunking, CutAll, call_chunks};
use super::process_task::RemoteWork;
use super::remote::Remote;
use crate::error::TaskError;
use crate::map::{BatchFn, Detach, Items, Map, MapFn, ProcessBatches};
use crate::pool::Pool;
use crate::pool::config;
use crate::pool::queue_limit::QueuePlace;
use crate::pool::runtime_warning::warn_if_blocking;
use crate::pool::scoped::{self, Abandoned};
use crate::pool::{Core, Job};
use crate::process::{Code, is_worker_process};
use crate::task::cancel::CurrentTask;
use crate::task::send_proof::{AssertSend, CallProof};
use crate::task::slot::{Slot, TaskOptions};
use crate::task::{Task, TrySubmitError};

/// Whether process functions run in this process: it is a worker process, or all calls are serial.
fn runs_in_this_process() -> bool {
    config::serial() || is_worker_process()
}

/// The pool of the function's worker processes; where they run in this process, its pool of threads.
#[track_caller]
fn core(site: CallSite) -> &'static Arc<Core> {
    if runs_in_this_process() {
        return Pool::cpu_default().core();
    }
    site.in_processes().core()
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
    warn_if_blocking(site.function);
    let remote = remote.with_timeout(site.options.timeout);
    let core = core(site);
    let args = RefCell::new(Some(args));
    let call = || {
        // A direct call is not the task that this thread runs, so cancelling that task does not stop it.
        let _no_task = CurrentTask::none();
        remote.call(&args)
    };
    if let Some(outcome) = core.try_directly(call) {
        return remote.settle(outcome);
    }
    // SAFETY: `Code<A>` and `Code<R>` are implemented for `Send` types only; the other fields of a `Remote` are plain
    // data and function pointers.
    let carried = unsafe { AssertSend::new((remote, args)) };
    let done = scoped::run_on(core, false, move || {
        let (remote, args) = carried.into_inner();
        // SAFETY: `Code<R>` is implemented for `Send` types only, and a `TaskError` is `Send`.
        unsafe { AssertSend::new(remote.call(&args)) }
    });
    remote.settle(match done {
        Ok(outcome) => outcome.into_inner(),
        Err(Abandoned) => Err(TaskError::PoolClosed),
    })
}

/// `name::submit`.
#[track_caller]
pub fn submit_process<A, R, C: Code<A> + 'static, D: Code<R> + 'static>(
    site: CallSite,
    remote: Remote<A, R, C, D>,
    args: A,
) -> Task<R>
where
    A: 'static,
    R: 'static,
{
    let core = core(site);
    queue(core, site, remote, core.wait_for_place(None), args)
}

/// `name::try_submit`.
///
/// # Errors
///
/// The arguments, if the pool's queue is full.
#[track_caller]
pub fn try_submit_process<A, R, C: Code<A> + 'static, D: Code<R> + 'static>(
    site: CallSite,
    remote: Remote<A, R, C, D>,
    args: A,
) -> Result<Task<R>, TrySubmitError<A>>
where
    A: 'static,
    R: 'static,
{
    let core = core(site);
    match core.try_place() {
        Ok(place) => Ok(queue(core, site, remote, place, args)),
        Err(_) => Err(TrySubmitError::new(core, args)),
    }
}

/// `name::submit_async`.
#[track_caller]
#[allow(clippy::async_yields_async, reason = "the task is awaited on its own")]
pub fn submit_process_when_possible<A, R, C: Code<A> + 'static, D: Code<R> + 'static>(
    site: CallSite,
    remote: Remote<A, R, C, D>,
    args: A,
) -> impl Future<Output = Task<R>>
where
    A: 'static,
    R: 'static,
{
    let core = core(site);
    // SAFETY: `Code<A>` and `Code<R>` are implemented for `Send` types only; a `Remote` is plain data.
    let carried = unsafe { AssertSend::new((remote, args)) };
    async move {
        let place = core.place(None).await;
        let (remote, args) = carried.into_inner();
        queue(core, site, remote, place, args)
    }
}

/// Queues the call at its place in the queue, if that is limited.
fn queue<A, R, C: Code<A> + 'static, D: Code<R> + 'static>(
    core: &Arc<Core>,
    site: CallSite,
    remote: Remote<A, R, C, D>,
    place: Option<QueuePlace>,
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
        return Task::start(core, Slot::new(Arc::clone(core), site.function, site.options, work, proof));
    }
    // SAFETY: `Code<A>` and `Code<R>` are implemented for `Send` types only; a `Remote` is plain data.
    let proof = unsafe { CallProof::new_unchecked() };
    // Only the pool's own threads run it. They have no time limit of their own: `Remote` has, and kills the worker.
    let options = TaskOptions { own_worker: true, ..TaskOptions::default() };
    let slot = Slot::new(Arc::clone(core), site.function, options, RemoteWork { remote, args, place }, proof);
    core.push(Arc::clone(&slot) as Arc<dyn Job>);
    Task::from_handle(slot)
}

/// `name::submit` of a function with `chunks`: `function` is the direct call, which a thread of the default io pool makes.
///
/// # Panics
///
/// If a pool cannot be started.
#[track_caller]
pub fn submit_chunks_process<A, R, C: Code<A>, D: Code<R>>(
    site: CallSite,
    _: Remote<A, R, C, D>,
    args: A,
    function: impl Fn(A) -> R + Send + 'static,
) -> Task<R>
where
    A: 'static,
    R: 'static,
{
    core(site);
    let core = Pool::io_default().core();
    // SAFETY: `Code<A>` and `Code<R>` are implemented for `Send` types only; the closure is `Send`.
    let proof = unsafe { CallProof::new_unchecked() };
    let work = move || function(args);
    Task::start(core, Slot::new(Arc::clone(core), site.function, TaskOptions::default(), work, proof))
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
    let function =
        ProcessMapFn { remote: remote.with_timeout(site.options.timeout), wrap, is_local: runs_in_this_process() };
    let map = Map::new(core(site), site.function, items.into_source(), function).stateful();
    match site.progress {
        Some(label) => map.progress(label),
        None => map,
    }
}

/// The direct call of a function with `chunks`.
///
/// # Panics
///
/// As [`call_process`], and as [`call_chunks`].
#[track_caller]
pub fn call_chunks_process<S, X: CutAll<S>, A, R, C: Code<A>, D: Code<R>>(
    site: CallSite,
    remote: Remote<A, R, C, D>,
    chunking: Chunking<'_, X, R>,
    whole: S,
    with: impl FnMut(S) -> A,
) -> R {
    core(site);
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
    let site = if is_local { site.on(Pool::cpu_default()) } else { site.in_processes() };
    call_chunks(CheckedCall { site, proof }, chunking, whole, with, function)
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
        (!self.is_local).then_some(true)
    }
}

impl<A, T, R, C: Code<T>, D: Code<R>> ProcessBatches<A, R> for ProcessMapFn<A, T, R, C, D> {
    fn name(&self) -> &'static str {
        self.remote.function()
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
