//! What the attribute's code calls: one entry for each way to run an annotated function.
//!
//! Each takes a [`Call`], which holds the proof that the arguments and the result may go to another thread, in place
//! of `Send` bounds; see `sent.rs`.

use std::panic::resume_unwind;
use std::sync::Arc;

use super::site::{Call, Site};
use crate::error::TaskError;
use crate::map::method::{Method, Receiver};
use crate::map::{self, Detach, Items, Map, MapFn, MethodFn, Source, TimedMap};
use crate::pool::scoped;
use crate::task::Task;
use crate::task::send_proof::{AssertSend, CallProof};
use crate::task::slot::Slot;

/// The direct call: runs the function on a worker and waits; in place on a worker of the same pool.
///
/// # Panics
///
/// With the function's own payload, and if the pool is closed.
#[track_caller]
pub fn call<A, R>(Call { site, .. }: Call<A, R>, args: A, function: impl Fn(A) -> R + Send) -> R {
    if site.is_here() {
        return function(args);
    }
    let core = site.core();
    // SAFETY: the witness stands for the arguments, and the closure is `Send`.
    let carried = unsafe { AssertSend::new((args, function)) };
    let done = scoped::run_on(core, !site.terms.own_worker, move || {
        let (args, function) = carried.into_inner();
        // SAFETY: the witness stands for the result.
        unsafe { AssertSend::new(function(args)) }
    });
    match done {
        Ok(result) => result.into_inner(),
        Err(scoped::Abandoned) => panic!("`{}` cannot run: its pool was closed", site.function),
    }
}

/// `name::submit`: queues the call and gives its handle.
#[track_caller]
pub fn submit<A, R>(Call { site, .. }: Call<A, R>, args: A, function: impl Fn(A) -> R + Send + 'static) -> Task<R>
where
    A: 'static,
    R: 'static,
{
    let core = site.core();
    let work = move || function(args);
    // SAFETY: the slot's closure is the arguments and a closure that is `Send`, and its result is the call's.
    let proof = unsafe { CallProof::new_unchecked() };
    Task::start(core, Slot::new(Arc::clone(core), site.function, site.terms, work, proof))
}

/// What a call that ran out of time returns: the proof that the result has a place for it.
#[diagnostic::on_unimplemented(
    message = "a function with a time limit cannot return `{Self}`",
    label = "has no place for a `TaskError`",
    note = "with `timeout` return `Result<_, E>` where `E: From<fanfold::TaskError>`, such as `Box<dyn Error + Send + Sync>`"
)]
pub trait Late {
    /// The error as a result.
    fn late(error: TaskError) -> Self;
}

// The message speaks of the whole result: of its error alone it would not say what to do.
#[diagnostic::do_not_recommend]
impl<T, E: From<TaskError>> Late for Result<T, E> {
    fn late(error: TaskError) -> Self {
        Err(E::from(error))
    }
}

/// The proof that a result has a place for a time-out.
#[must_use]
pub fn late<R: Late>() -> fn(TaskError) -> R {
    R::late
}

/// The direct call of a function with `timeout`: always on a worker, and left behind there when time is up.
///
/// # Panics
///
/// With the function's own payload.
#[track_caller]
pub fn call_timed<A, R>(
    call: Call<A, R>,
    late: fn(TaskError) -> R,
    args: A,
    function: impl Fn(A) -> R + Send + 'static,
) -> R
where
    A: 'static,
    R: 'static,
{
    match submit(call, args, function).join() {
        Ok(result) => result,
        Err(TaskError::Panicked { payload, .. }) => resume_unwind(payload.into_inner()),
        Err(error) => late(error),
    }
}

/// `name::map` of a function with `timeout`.
pub fn map_timed<I, M, A, R, F>(
    call: Call<A, R>,
    late: fn(TaskError) -> R,
    items: I,
    function: F,
) -> TimedMap<I::Source, impl Detach<A, Out = R> + use<I, M, A, R, F>, A>
where
    I: Items<A, M>,
    F: Fn(A) -> R + Send + Sync,
{
    TimedMap::new(map(call, items, function), call.site.limit(), late)
}

/// `name::map`: a lazy map of the function.
#[track_caller]
pub fn map<I, M, A, R, F>(
    call: Call<A, R>,
    items: I,
    function: F,
) -> Map<I::Source, impl Detach<A, Out = R> + use<I, M, A, R, F>, A>
where
    I: Items<A, M>,
    F: Fn(A) -> R + Send + Sync,
{
    let Call { site, proof } = call;
    with_terms(site, map::of_function(site.core(), site.function, proof, items.into_source(), function))
}

/// `name_map` of a method, with the receiver that all items are given.
pub fn map_on<I, M, T, R, F>(
    call: Call<T, R>,
    receiver: T::Receiver,
    items: I,
    function: F,
) -> Map<I::Source, MethodFn<T, F, R>, T::Others>
where
    T: Method,
    T::Receiver: Receiver,
    I: Items<T::Others, M>,
    F: Fn(T) -> R + Send + Sync,
{
    let Call { site, proof } = call;
    with_terms(site, map::of_method(site.core(), site.function, proof, receiver, items.into_source(), function))
}

/// `name_map` of a method with `timeout`.
pub fn map_timed_on<I, M, T, R, F>(
    call: Call<T, R>,
    late: fn(TaskError) -> R,
    receiver: T::Receiver,
    items: I,
    function: F,
) -> TimedMap<I::Source, MethodFn<T, F, R>, T::Others>
where
    T: Method,
    T::Receiver: Receiver,
    I: Items<T::Others, M>,
    F: Fn(T) -> R + Send + Sync,
{
    TimedMap::new(map_on(call, receiver, items, function), call.site.limit(), late)
}

/// The map as the attribute's options have it.
fn with_terms<S, F, A>(site: Site, map: Map<S, F, A>) -> Map<S, F, A>
where
    S: Source<Item = A>,
    F: MapFn<A>,
{
    let map = if site.terms.own_worker { map.stateful() } else { map };
    match site.progress {
        Some(label) => map.progress(label),
        None => map,
    }
}
