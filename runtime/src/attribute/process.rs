//! The entries for functions of `kind = "process"`: the direct call, `submit`, `map` and `chunks`.
//!
//! A call is given to a thread of the pool, which sends it to a worker process and waits for the answer. In a worker
//! process, and with `FANFOLD_SERIAL=1`, functions run in this process: worker processes have none of their own.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::call_site::{CallSite, CheckedCall};
use super::chunks::{Chunking, CutAll, call_chunks};
use super::remote::Remote;
use crate::error::TaskError;
use crate::error::panics;
use crate::map::{Batched, Batches, Detach, Items, Map, MapFn};
use crate::pool::Pool;
use crate::pool::config;
use crate::pool::scoped::{self, Abandoned};
use crate::pool::{Core, Job, JobEnd, Ship};
use crate::process::{Code, CodecError, Decoder, PipelinedTask, catch_codec_panic, is_worker_process};
use crate::sys::unwind;
use crate::task::Task;
use crate::task::cancel::{Current, cancelled};
use crate::task::send_proof::{AssertSend, CallProof};
use crate::task::slot::{Slot, TaskOptions, Work};

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
    let remote = remote.with_timeout(site.options.timeout);
    let core = core(site);
    let args = RefCell::new(Some(args));
    let call = || {
        // A direct call is not the task that this thread runs, so cancelling that task does not stop it.
        let _no_task = Current::none();
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
    let remote = remote.with_timeout(site.options.timeout);
    if runs_in_this_process() {
        // SAFETY: `Code<A>` and `Code<R>` are implemented for `Send` types only; a `Remote` is plain data.
        let proof = unsafe { CallProof::vouched() };
        let work = move || remote.run_local(args);
        return Task::start(core, Slot::new(Arc::clone(core), site.function, site.options, work, proof));
    }
    // SAFETY: `Code<A>` and `Code<R>` are implemented for `Send` types only; a `Remote` is plain data.
    let proof = unsafe { CallProof::vouched() };
    // Only the pool's own threads run it. They have no time limit of their own: `Remote` has, and kills the worker.
    let options = TaskOptions { own_worker: true, ..TaskOptions::default() };
    let slot = Slot::new(Arc::clone(core), site.function, options, RemoteWork { remote, args }, proof);
    core.push(Arc::clone(&slot) as Arc<dyn Job>);
    Task::of(slot)
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
    chunking: Chunking<X, R>,
    whole: S,
    with: impl FnMut(S) -> A,
) -> R {
    core(site);
    let is_local = runs_in_this_process();
    let remote = remote.with_timeout(site.options.timeout);
    // SAFETY: `Code<A>` and `Code<R>` are implemented for `Send` types only.
    let proof = unsafe { CallProof::vouched() };
    // SAFETY: a `Remote` is plain data and function pointers, which threads may share.
    let remote = unsafe { AssertSend::new(remote) };
    let function = move |args| {
        let remote = remote.get();
        if is_local { remote.run_local(args) } else { remote.settle(remote.call(&RefCell::new(Some(args)))) }
    };
    let site = if is_local { site.on(Pool::cpu_default()) } else { site.in_processes() };
    call_chunks(CheckedCall { site, proof }, chunking, whole, with, function)
}

/// The work of a submitted task that a worker process runs.
struct RemoteWork<A, R, C, D> {
    remote: Remote<A, R, C, D>,
    args: A,
}

type RemoteSlot<A, R, C, D> = Slot<RemoteWork<A, R, C, D>, R>;

impl<A, R, C: Code<A>, D: Code<R>> Work<R> for RemoteWork<A, R, C, D> {
    fn run_if_queued(slot: &RemoteSlot<A, R, C, D>) -> bool {
        let Some(RemoteWork { remote, args }) = slot.begin() else { return false };
        let inside = slot.enter();
        let args = RefCell::new(Some(args));
        // The user's serialization of the arguments may panic as well.
        let outcome = panics::catch(remote.function(), || remote.call(&args)).flatten();
        drop(inside);
        unwind::discard(args);
        slot.end(outcome);
        true
    }
}

impl<A: 'static, R: 'static, C: Code<A> + 'static, D: Code<R> + 'static> Job for RemoteSlot<A, R, C, D> {
    fn run(self: Arc<Self>) -> JobEnd {
        let ran = RemoteWork::run_if_queued(&self);
        unwind::discard(self);
        if ran { JobEnd::Here } else { JobEnd::Dead }
    }

    fn is_dead(&self) -> bool {
        Slot::is_dead(self)
    }

    fn can_be_shipped(&self) -> bool {
        true
    }

    fn ship(self: Arc<Self>) -> Ship {
        let Some(work) = self.begin() else {
            self.exhume();
            return Ship::Gone;
        };
        let encoded = if work.remote.can_be_pipelined() {
            panics::catch(work.remote.function(), || work.remote.encode(&work.args))
        } else {
            Ok(None)
        };
        match encoded {
            Ok(Some(Ok(bytes))) => Ship::Ready(Box::new(InFlightTask { slot: self, work, bytes, outcome: None })),
            Ok(None) => {
                // SAFETY: this thread's `begin` above took the work, and nothing has ended the task since.
                unsafe { self.put_back(work) };
                Ship::Alone
            }
            Ok(Some(Err(error))) | Err(error) => {
                unwind::discard(work);
                self.end(Err(error));
                Ship::Gone
            }
        }
    }

    fn abandon(&self, cancelled: bool) {
        self.end_unbegun(if cancelled { TaskError::Cancelled } else { TaskError::PoolClosed });
    }
}

/// A task whose arguments have been sent to a worker, which may run others before it.
struct InFlightTask<A, R, C, D> {
    slot: Arc<RemoteSlot<A, R, C, D>>,
    work: RemoteWork<A, R, C, D>,
    bytes: Vec<u8>,
    outcome: Option<Result<R, TaskError>>,
}

// SAFETY: `Code<A>` and `Code<R>` are implemented for `Send` types only; the other fields are plain data, function
// pointers and an `Arc` of a slot, which is `Sync`.
unsafe impl<A, R, C, D> Send for InFlightTask<A, R, C, D> {}

impl<A: 'static, R: 'static, C: Code<A> + 'static, D: Code<R> + 'static> PipelinedTask<Arc<dyn Job>>
    for InFlightTask<A, R, C, D>
{
    fn function(&self) -> &'static str {
        self.work.remote.function()
    }

    fn number(&self) -> u32 {
        self.work.remote.entry_number()
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn key(&self) -> usize {
        self.slot.key()
    }

    fn start_series(&self) -> u32 {
        self.work.remote.start_series()
    }

    fn is_stopped(&self) -> bool {
        self.slot.is_stopped() || cancelled()
    }

    fn has_callback(&self) -> bool {
        self.slot.has_callback()
    }

    fn read(&mut self, input: &mut Decoder<'_>) -> Result<(), CodecError> {
        let remote = &self.work.remote;
        self.outcome = Some(Ok(catch_codec_panic(remote.function(), || remote.decode(input))?));
        Ok(())
    }

    fn fail(&mut self, error: TaskError) {
        self.outcome = Some(Err(error));
    }

    fn finish(self: Box<Self>) {
        let Self { slot, work, outcome, .. } = *self;
        let function = work.remote.function();
        unwind::discard(work);
        slot.end(outcome.unwrap_or_else(|| Err(TaskError::wire(function, "its worker gave no result".into()))));
        unwind::discard(slot);
    }

    fn into_job(self: Box<Self>) -> Option<Arc<dyn Job>> {
        let Self { slot, work, .. } = *self;
        // SAFETY: `ship` took the work by `begin`, and `finish`, which ends the task, consumes `self` as this does.
        unsafe { slot.put_back(work) };
        if slot.is_stopped() && slot.end_unbegun(TaskError::Cancelled) {
            return None;
        }
        Some(slot)
    }
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
        unsafe { CallProof::vouched() }
    }

    fn batches(&self) -> Option<&dyn Batches<A, R>> {
        if self.is_local { None } else { Some(self) }
    }

    fn is_abroad(&self) -> Option<bool> {
        (!self.is_local).then_some(true)
    }
}

impl<A, T, R, C: Code<T>, D: Code<R>> Batches<A, R> for ProcessMapFn<A, T, R, C, D> {
    fn name(&self) -> &'static str {
        self.remote.function()
    }

    fn run(&self, next: &mut dyn FnMut() -> Option<A>, give: &mut dyn FnMut(R) -> ControlFlow<()>) {
        let next = &mut || next().map(self.wrap);
        let _ = self.remote.call_all(next, &mut |outcome| give(self.remote.settle(outcome)));
    }
}

impl<A, T: 'static, R: 'static, C: Code<T> + 'static, D: Code<R> + 'static> Detach<A> for ProcessMapFn<A, T, R, C, D> {
    fn detach(self) -> Batched<A, R>
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
