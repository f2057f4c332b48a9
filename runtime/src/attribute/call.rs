//! The entries for functions on threads: the direct call, `submit` and `map`, each also with `timeout`.
//!
//! An entry takes a [`CheckedCall`] in place of `Send` bounds: it holds the proof that the arguments and the result may
//! move to another thread.

use std::future::Future;
use std::panic::resume_unwind;
use std::sync::Arc;

use super::call_site::{CallSite, CheckedCall};
use crate::error::TaskError;
use crate::map::method::{Method, SharedReceiver};
use crate::map::{self, AnnotatedFn, ItemFn, Items, Map, MapFn, MethodFn, Source, TimedMap};
use crate::pool::Core;
use crate::pool::queue_limit::QueuePlace;
use crate::pool::runtime_warning::warn_if_blocking;
use crate::pool::scoped;
use crate::pool::work_span::{Work, observed};
use crate::task::queueing::Queueing;
use crate::task::send_proof::{AssertSend, CallProof};
use crate::task::slot::Slot;
use crate::task::{Task, TrySubmitError};

/// The direct call: runs the function on a worker and waits; in place on a worker of the same pool.
///
/// # Panics
///
/// With the function's own payload, and if the pool is closed.
#[track_caller]
#[inline]
pub fn call<A, R>(call: CheckedCall<A, R>, args: A, function: impl Fn(A) -> R + Send) -> R {
    // Inlined: a recursive function calls itself on workers, each time.
    if call.site.is_on_worker() { function(args) } else { call_from_anywhere(call, args, function) }
}

#[track_caller]
#[inline(never)]
fn call_from_anywhere<A, R>(
    CheckedCall { site, .. }: CheckedCall<A, R>,
    args: A,
    function: impl Fn(A) -> R + Send,
) -> R {
    if site.runs_in_place() {
        return function(args);
    }
    warn_if_blocking(site.function);
    let core = site.core();
    // SAFETY: the `CheckedCall` covers the arguments, and the closure is `Send`.
    let carried = unsafe { AssertSend::new((args, function)) };
    let done = scoped::run_on(core, !site.options.own_worker, move || {
        let (args, function) = carried.into_inner();
        let result = observed(Work::call(site.function, core), None, || function(args));
        // SAFETY: the `CheckedCall` covers the result.
        unsafe { AssertSend::new(result) }
    });
    match done {
        Ok(result) => result.into_inner(),
        Err(scoped::Abandoned) => {
            panic!("`{}` cannot run: its pool was closed: call it before `shutdown`, or on another pool", site.function)
        }
    }
}

/// The direct call on this pool. [`call`] is apart from it: the pool as an argument takes a fifth more instructions of a
/// call in place.
#[track_caller]
pub(super) fn call_in<A, R>(
    core: &Arc<Core>,
    CheckedCall { site, .. }: CheckedCall<A, R>,
    args: A,
    function: impl Fn(A) -> R + Send,
) -> R {
    if site.runs_in_place_on(core) {
        return function(args);
    }
    warn_if_blocking(site.function);
    // SAFETY: the `CheckedCall` covers the arguments, and the closure is `Send`.
    let carried = unsafe { AssertSend::new((args, function)) };
    let done = scoped::run_on(core, !site.options.own_worker, move || {
        let (args, function) = carried.into_inner();
        let result = observed(Work::call(site.function, core), None, || function(args));
        // SAFETY: the `CheckedCall` covers the result.
        unsafe { AssertSend::new(result) }
    });
    match done {
        Ok(result) => result.into_inner(),
        Err(scoped::Abandoned) => {
            panic!("`{}` cannot run: its pool was closed: call it before `shutdown`, or on another pool", site.function)
        }
    }
}

/// `name::submit`: queues the call and returns its task.
#[track_caller]
pub fn submit<A: 'static, R: 'static>(
    call: CheckedCall<A, R>,
    args: A,
    function: impl Fn(A) -> R + Send + 'static,
) -> Task<R> {
    submit_in(call.site.core(), call, Queueing::default(), args, function)
}

/// `name::submit` of a function that must have started within this many nanoseconds (`deadline`).
#[track_caller]
pub fn submit_within<A: 'static, R: 'static>(
    call: CheckedCall<A, R>,
    nanoseconds: u64,
    args: A,
    function: impl Fn(A) -> R + Send + 'static,
) -> Task<R> {
    submit_in(call.site.core(), call, Queueing::within(nanoseconds), args, function)
}

/// `name::try_submit`, with the deadline if that is not 0.
///
/// # Errors
///
/// The arguments, if the pool's queue is full.
#[track_caller]
pub fn try_submit<A: 'static, R: 'static>(
    call: CheckedCall<A, R>,
    nanoseconds: u64,
    args: A,
    function: impl Fn(A) -> R + Send + 'static,
) -> Result<Task<R>, TrySubmitError<A>> {
    try_submit_in(call.site.core(), call, Queueing::within(nanoseconds), args, function)
}

/// `name::submit_async`, with the deadline if that is not 0.
#[track_caller]
pub fn submit_when_possible<A: 'static, R: 'static>(
    call: CheckedCall<A, R>,
    nanoseconds: u64,
    args: A,
    function: impl Fn(A) -> R + Send + 'static,
) -> impl Future<Output = Task<R>> {
    let (core, queueing) = (Arc::clone(call.site.core()), Queueing::within(nanoseconds));
    submit_async_in(core, call, queueing, args, function)
}

/// Queues the call on this pool.
#[cfg_attr(debug_assertions, track_caller)]
#[inline]
pub(super) fn submit_in<A: 'static, R: 'static>(
    core: &Arc<Core>,
    call: CheckedCall<A, R>,
    queueing: Queueing,
    args: A,
    function: impl Fn(A) -> R + Send + 'static,
) -> Task<R> {
    if core.queue_limit().is_none() {
        return queue(core, call.site, queueing, args, function);
    }
    queue_at(core, call.site, core.wait_for_place(queueing.until()), queueing, args, function)
}

/// As [`submit_in`], unless the queue is full.
pub(super) fn try_submit_in<A: 'static, R: 'static>(
    core: &Arc<Core>,
    call: CheckedCall<A, R>,
    queueing: Queueing,
    args: A,
    function: impl Fn(A) -> R + Send + 'static,
) -> Result<Task<R>, TrySubmitError<A>> {
    match core.try_place() {
        Ok(place) => Ok(queue_at(core, call.site, place, queueing, args, function)),
        Err(_) => Err(TrySubmitError::new(core, args)),
    }
}

/// As [`submit_in`], without blocking the thread.
pub(super) async fn submit_async_in<A: 'static, R: 'static>(
    core: Arc<Core>,
    call: CheckedCall<A, R>,
    queueing: Queueing,
    args: A,
    function: impl Fn(A) -> R + Send + 'static,
) -> Task<R> {
    let place = core.place(queueing.until()).await;
    queue_at(&core, call.site, place, queueing, args, function)
}

/// Queues the call.
#[inline]
fn queue<A: 'static, R: 'static>(
    core: &Arc<Core>,
    site: CallSite,
    queueing: Queueing,
    args: A,
    function: impl Fn(A) -> R + Send + 'static,
) -> Task<R> {
    let work = move || function(args);
    // SAFETY: the callers have a `CheckedCall`, which covers the arguments and the result; the closure is `Send`.
    let proof = unsafe { CallProof::new_unchecked() };
    Task::queue(core, Slot::new(Arc::clone(core), site.function, site.options, work, proof), queueing)
}

/// As [`queue`], at a place in a limited queue, which the task gives back when it starts. Apart from it, so that the
/// tasks of other pools hold no place.
#[cold]
fn queue_at<A: 'static, R: 'static>(
    core: &Arc<Core>,
    site: CallSite,
    place: Option<QueuePlace>,
    queueing: Queueing,
    args: A,
    function: impl Fn(A) -> R + Send + 'static,
) -> Task<R> {
    let work = move || {
        drop(place);
        function(args)
    };
    // SAFETY: the callers have a `CheckedCall`, which covers the arguments and the result; the closure is `Send`.
    let proof = unsafe { CallProof::new_unchecked() };
    Task::queue(core, Slot::new(Arc::clone(core), site.function, site.options, work, proof), queueing)
}

/// A result that a `TaskError` can be turned into, for `timeout`.
#[diagnostic::on_unimplemented(
    message = "a function with a time limit cannot return `{Self}`",
    label = "has no place for a `TaskError`",
    note = "with `timeout` or `deadline` return `Result<_, E>` where `E: From<fanfold::TaskError>`, such as \
            `Box<dyn Error + Send + Sync>`"
)]
pub trait FromTaskError {
    /// The error as a result.
    fn from_task_error(error: TaskError) -> Self;
}

// The message names the whole result: one about its error type alone would not say what to do.
#[diagnostic::do_not_recommend]
impl<T, E: From<TaskError>> FromTaskError for Result<T, E> {
    fn from_task_error(error: TaskError) -> Self {
        Err(E::from(error))
    }
}

/// The function that makes a result of a time-out. The bound is the check that the result type has room for one.
#[must_use]
pub fn on_timeout<R: FromTaskError>() -> fn(TaskError) -> R {
    R::from_task_error
}

/// The direct call of a function with `timeout`. It always runs on a worker, where it stays when its time is up.
///
/// # Panics
///
/// With the function's own payload.
#[track_caller]
pub fn call_timed<A: 'static, R: 'static>(
    call: CheckedCall<A, R>,
    on_timeout: fn(TaskError) -> R,
    args: A,
    function: impl Fn(A) -> R + Send + 'static,
) -> R {
    call_timed_in(call.site.core(), call, Queueing::default(), on_timeout, args, function)
}

/// As [`call_timed`], of a function that must have started within this many nanoseconds (`deadline`).
///
/// # Panics
///
/// As [`call_timed`].
#[track_caller]
pub fn call_within<A: 'static, R: 'static>(
    call: CheckedCall<A, R>,
    nanoseconds: u64,
    on_timeout: fn(TaskError) -> R,
    args: A,
    function: impl Fn(A) -> R + Send + 'static,
) -> R {
    call_timed_in(call.site.core(), call, Queueing::within(nanoseconds), on_timeout, args, function)
}

/// The direct call of a function with `timeout`, on this pool.
#[track_caller]
#[inline]
pub(super) fn call_timed_in<A: 'static, R: 'static>(
    core: &Arc<Core>,
    call: CheckedCall<A, R>,
    queueing: Queueing,
    on_timeout: fn(TaskError) -> R,
    args: A,
    function: impl Fn(A) -> R + Send + 'static,
) -> R {
    warn_if_blocking(call.site.function);
    match submit_in(core, call, queueing, args, function).join_in_silence() {
        Ok(result) => result,
        Err(TaskError::Panicked { payload, .. }) => resume_unwind(payload.into_inner()),
        Err(error) => on_timeout(queueing.late_or(error)),
    }
}

/// `name::map` of a function with `timeout`.
pub fn map_timed<I, M, A, R, F>(
    call: CheckedCall<A, R>,
    on_timeout: fn(TaskError) -> R,
    items: I,
    function: F,
) -> TimedMap<I::Source, AnnotatedFn<F, A, R>, A>
where
    I: Items<A, M>,
    F: ItemFn<A, R>,
{
    TimedMap::new(map(call, items, function), call.site.timeout_or_max(), on_timeout)
}

/// `name::map`: a lazy map of the function.
#[track_caller]
pub fn map<I, M, A, R, F>(call: CheckedCall<A, R>, items: I, function: F) -> Map<I::Source, AnnotatedFn<F, A, R>, A>
where
    I: Items<A, M>,
    F: ItemFn<A, R>,
{
    let CheckedCall { site, proof } = call;
    with_options(site, map::of_function(site.core().into(), site.function, proof, items.into_source(), function))
}

/// `name_map` of a method; every call gets the same receiver.
pub fn map_on<I, M, T, R, F>(
    call: CheckedCall<T, R>,
    receiver: T::Receiver,
    items: I,
    function: F,
) -> Map<I::Source, MethodFn<T, F, R>, T::Others>
where
    T: Method,
    T::Receiver: SharedReceiver,
    I: Items<T::Others, M>,
    F: Fn(T) -> R + Send + Sync,
{
    let CheckedCall { site, proof } = call;
    with_options(site, map::of_method(site.core(), site.function, proof, receiver, items.into_source(), function))
}

/// `name_map` of a method with `timeout`.
pub fn map_timed_on<I, M, T, R, F>(
    call: CheckedCall<T, R>,
    on_timeout: fn(TaskError) -> R,
    receiver: T::Receiver,
    items: I,
    function: F,
) -> TimedMap<I::Source, MethodFn<T, F, R>, T::Others>
where
    T: Method,
    T::Receiver: SharedReceiver,
    I: Items<T::Others, M>,
    F: Fn(T) -> R + Send + Sync,
{
    TimedMap::new(map_on(call, receiver, items, function), call.site.timeout_or_max(), on_timeout)
}

/// The map with the attribute's options.
pub(super) fn with_options<S, F, A>(site: CallSite, map: Map<S, F, A>) -> Map<S, F, A>
where
    S: Source<Item = A>,
    F: MapFn<A>,
{
    let map = if site.options.own_worker { map.stateful() } else { map };
    match site.progress {
        Some(label) => map.progress(label),
        None => map,
    }
}
