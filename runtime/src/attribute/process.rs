//! What the attribute's code calls for `kind = "process"`.
//!
//! Each entry hands the call to a seat of the pool, as the entries of `call.rs` hand theirs to a thread; the seat's
//! worker runs it. In a worker process itself, and with `FANFOLD_SERIAL=1`, functions run in this process: there is one
//! level of processes.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::chunks::{Chunking, CutAll, call_chunks};
use super::remote::Remote;
use super::site::{Call, Site};
use crate::error::TaskError;
use crate::error::panics;
use crate::map::{BatchFn, Detach, Items, Map, MapFn, ProcessBatches};
use crate::pool::Pool;
use crate::pool::config;
use crate::pool::scoped::{self, Abandoned};
use crate::pool::{Core, Job, JobEnd, Ship};
use crate::process::{Code, Decoder, Misfit, Shipment, contained, is_worker_process};
use crate::sys::unwind;
use crate::task::Task;
use crate::task::cancel::{CurrentTask, cancelled};
use crate::task::send_proof::{AssertSend, CallProof};
use crate::task::slot::{Slot, TaskOptions, TaskWork};

/// Whether process functions run in this very process.
fn at_home() -> bool {
    config::serial() || is_worker_process()
}

/// The pool that a function's workers belong to; in a worker process its threads.
#[track_caller]
fn core(site: Site) -> &'static Arc<Core> {
    if at_home() {
        return Pool::cpu_default().core();
    }
    site.abroad().core()
}

/// The direct call: a worker process runs the function; this thread waits.
///
/// # Panics
///
/// With the message of the function's own panic. If its worker is lost, or its arguments or result cannot cross, unless
/// the result has a place for that; and if the pool cannot start.
#[track_caller]
pub fn call_process<A, R, C: Code<A>, D: Code<R>>(site: Site, remote: Remote<A, R, C, D>, args: A) -> R {
    if at_home() {
        return remote.here(args);
    }
    let remote = remote.limit(site.terms.timeout);
    let core = core(site);
    let args = RefCell::new(Some(args));
    let directly = || {
        // The call is not the task that this thread runs: nobody can cancel it.
        let _no_task = CurrentTask::none();
        remote.call(&args)
    };
    if let Some(outcome) = core.try_directly(directly) {
        return remote.settle(outcome);
    }
    // SAFETY: a `Code` stands for types that are `Send`; the rest is function pointers.
    let carried = unsafe { AssertSend::new((remote, args)) };
    let done = scoped::run_on(core, false, move || {
        let (remote, args) = carried.into_inner();
        // SAFETY: as above.
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
    site: Site,
    remote: Remote<A, R, C, D>,
    args: A,
) -> Task<R>
where
    A: 'static,
    R: 'static,
{
    let core = core(site);
    let remote = remote.limit(site.terms.timeout);
    if at_home() {
        // SAFETY: a `Code` stands for types that are `Send`; the rest is function pointers.
        let proof = unsafe { CallProof::new_unchecked() };
        let work = move || remote.here(args);
        return Task::start(core, Slot::new(Arc::clone(core), site.function, site.terms, work, proof));
    }
    // SAFETY: as above.
    let proof = unsafe { CallProof::new_unchecked() };
    // Only workers of the pool run it; its time is kept where its worker is.
    let terms = TaskOptions { own_worker: true, ..TaskOptions::default() };
    let slot = Slot::new(Arc::clone(core), site.function, terms, Sending { remote, args }, proof);
    core.push(Arc::clone(&slot) as Arc<dyn Job>);
    Task::from_handle(slot)
}

/// `name::map`; `wrap` makes the arguments of an item.
#[track_caller]
pub fn map_process<I, M, A, T, R, C, D>(
    site: Site,
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
    let function = Abroad { remote: remote.limit(site.terms.timeout), wrap, here: at_home() };
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
    site: Site,
    remote: Remote<A, R, C, D>,
    chunking: Chunking<X, R>,
    whole: S,
    with: impl FnMut(S) -> A,
) -> R {
    core(site);
    let here = at_home();
    let remote = remote.limit(site.terms.timeout);
    // SAFETY: a `Code` stands for types that are `Send`.
    let proof = unsafe { CallProof::new_unchecked() };
    // SAFETY: function pointers.
    let remote = unsafe { AssertSend::new(remote) };
    let function = move |args| {
        let remote = remote.get();
        if here { remote.here(args) } else { remote.settle(remote.call(&RefCell::new(Some(args)))) }
    };
    let site = if here { site.on(Pool::cpu_default()) } else { site.abroad() };
    call_chunks(Call { site, proof }, chunking, whole, with, function)
}

/// The work of a task that another process runs.
struct Sending<A, R, C, D> {
    remote: Remote<A, R, C, D>,
    args: A,
}

type SendingSlot<A, R, C, D> = Slot<Sending<A, R, C, D>, R>;

impl<A, R, C: Code<A>, D: Code<R>> TaskWork<R> for Sending<A, R, C, D> {
    fn run_if_queued(slot: &SendingSlot<A, R, C, D>) -> bool {
        let Some(Sending { remote, args }) = slot.claim_work() else { return false };
        let inside = slot.enter();
        let args = RefCell::new(Some(args));
        // What writes the arguments is the user's, too.
        let outcome = panics::catch(remote.function(), || remote.call(&args)).flatten();
        drop(inside);
        unwind::discard(args);
        slot.finish(outcome);
        true
    }
}

impl<A: 'static, R: 'static, C: Code<A> + 'static, D: Code<R> + 'static> Job for SendingSlot<A, R, C, D> {
    fn run(self: Arc<Self>) -> JobEnd {
        let ran = Sending::run_if_queued(&self);
        unwind::discard(self);
        if ran { JobEnd::Here } else { JobEnd::Dead }
    }

    fn is_dead(&self) -> bool {
        self.is_claimed()
    }

    fn can_be_shipped(&self) -> bool {
        true
    }

    fn ship(self: Arc<Self>) -> Ship {
        let Some(work) = self.claim_work() else {
            self.note_dequeued();
            return Ship::Gone;
        };
        let encoded = if work.remote.travels() {
            panics::catch(work.remote.function(), || work.remote.encode(&work.args))
        } else {
            Ok(None)
        };
        match encoded {
            Ok(Some(Ok(bytes))) => Ship::Ready(Box::new(OnItsWay { slot: self, work, bytes, outcome: None })),
            Ok(None) => {
                // SAFETY: begun just now.
                unsafe { self.put_back(work) };
                Ship::Alone
            }
            Ok(Some(Err(error))) | Err(error) => {
                unwind::discard(work);
                self.finish(Err(error));
                Ship::Gone
            }
        }
    }

    fn abandon(&self, cancelled: bool) {
        self.end_unstarted(if cancelled { TaskError::Cancelled } else { TaskError::PoolClosed });
    }
}

/// A task on its way to a worker, behind others.
struct OnItsWay<A, R, C, D> {
    slot: Arc<SendingSlot<A, R, C, D>>,
    work: Sending<A, R, C, D>,
    bytes: Vec<u8>,
    outcome: Option<Result<R, TaskError>>,
}

// SAFETY: a `Code` stands for types that are `Send`; the rest is bytes and function pointers.
unsafe impl<A, R, C, D> Send for OnItsWay<A, R, C, D> {}

impl<A: 'static, R: 'static, C: Code<A> + 'static, D: Code<R> + 'static> Shipment<Arc<dyn Job>>
    for OnItsWay<A, R, C, D>
{
    fn function(&self) -> &'static str {
        self.work.remote.function()
    }

    fn number(&self) -> u32 {
        self.work.remote.number()
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn key(&self) -> usize {
        self.slot.key()
    }

    fn since(&self) -> u32 {
        self.work.remote.since()
    }

    fn is_stopped(&self) -> bool {
        self.slot.is_stop_requested() || cancelled()
    }

    fn has_callback(&self) -> bool {
        self.slot.has_callback()
    }

    fn read(&mut self, input: &mut Decoder<'_>) -> Result<(), Misfit> {
        let remote = &self.work.remote;
        self.outcome = Some(Ok(contained(remote.function(), || remote.decode(input))?));
        Ok(())
    }

    fn fail(&mut self, error: TaskError) {
        self.outcome = Some(Err(error));
    }

    fn finish(self: Box<Self>) {
        let Self { slot, work, outcome, .. } = *self;
        let function = work.remote.function();
        unwind::discard(work);
        slot.finish(outcome.unwrap_or_else(|| Err(TaskError::wire(function, "its worker gave no result".into()))));
        unwind::discard(slot);
    }

    fn give_back(self: Box<Self>) -> Option<Arc<dyn Job>> {
        let Self { slot, work, .. } = *self;
        // SAFETY: `ship` began it, and nothing has come of it.
        unsafe { slot.put_back(work) };
        if slot.is_stop_requested() && slot.end_unstarted(TaskError::Cancelled) {
            return None;
        }
        Some(slot)
    }
}

/// A function whose items go to worker processes.
struct Abroad<A, T, R, C, D> {
    remote: Remote<T, R, C, D>,
    wrap: fn(A) -> T,
    here: bool,
}

// SAFETY: function pointers and flags.
unsafe impl<A, T, R, C, D> Send for Abroad<A, T, R, C, D> {}
// SAFETY: as above.
unsafe impl<A, T, R, C, D> Sync for Abroad<A, T, R, C, D> {}

impl<A, T, R, C: Code<T>, D: Code<R>> MapFn<A> for Abroad<A, T, R, C, D> {
    type Out = R;

    fn call(&self, item: A) -> R {
        let args = (self.wrap)(item);
        if self.here { self.remote.here(args) } else { self.remote.settle(self.remote.call(&RefCell::new(Some(args)))) }
    }

    fn call_proof(&self) -> CallProof<A, R> {
        // SAFETY: a `Code` stands for types that are `Send`.
        unsafe { CallProof::new_unchecked() }
    }

    fn process_batches(&self) -> Option<&dyn ProcessBatches<A, R>> {
        if self.here { None } else { Some(self) }
    }

    fn runs_in_processes(&self) -> Option<bool> {
        (!self.here).then_some(true)
    }
}

impl<A, T, R, C: Code<T>, D: Code<R>> ProcessBatches<A, R> for Abroad<A, T, R, C, D> {
    fn name(&self) -> &'static str {
        self.remote.function()
    }

    fn run(&self, next: &mut dyn FnMut() -> Option<A>, give: &mut dyn FnMut(R) -> ControlFlow<()>) {
        let next = &mut || next().map(self.wrap);
        let _ = self.remote.call_all(next, &mut |outcome| give(self.remote.settle(outcome)));
    }
}

impl<A, T: 'static, R: 'static, C: Code<T> + 'static, D: Code<R> + 'static> Detach<A> for Abroad<A, T, R, C, D> {
    fn detach(self) -> BatchFn<A, R>
    where
        A: 'static,
    {
        Arc::new(move |items: Vec<A>, results: &mut Vec<R>| {
            let mut items = items.into_iter();
            if self.here {
                return results.extend(items.map(|item| self.call(item)));
            }
            self.run(&mut || items.next(), &mut |result| {
                results.push(result);
                ControlFlow::Continue(())
            });
        })
    }
}
