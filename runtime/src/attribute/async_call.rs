//! The entries for an `async fn` (feature `tokio`): the direct call, `submit` and `map`.

use std::future::Future;
use std::time::Duration;

use super::call_site::CheckedCall;
use crate::async_fn::{AsyncMap, MapFuture, TimedFuture, spawn, within};
use crate::error::TaskError;
use crate::map::Items;
use crate::map::method::{Method, SharedReceiver};
use crate::task::send_proof::AssertSend;
use crate::task::{Deadline, Task};

/// The direct call: a future that is polled where it is awaited, inside the caller's Tokio runtime, or else inside
/// Fanfold's own.
pub fn call_async<A, R, F, Fut>(_: CheckedCall<A, R>, args: A, function: F) -> impl Future<Output = R>
where
    F: Fn(A) -> Fut,
    Fut: Future<Output = R>,
{
    within(function(args))
}

/// The direct call of a function with `timeout`, which drops the future when its time is up.
pub fn call_async_timed<A, R, F, Fut>(
    CheckedCall { site, .. }: CheckedCall<A, R>,
    on_timeout: fn(TaskError) -> R,
    args: A,
    function: F,
) -> impl Future<Output = R>
where
    F: Fn(A) -> Fut,
    Fut: Future<Output = R>,
{
    let timed = TimedFuture::new(function(args), site.timeout_or_max());
    async move { timed.await.unwrap_or_else(on_timeout) }
}

/// `name::submit`: spawns the call's future on a runtime and returns its task.
pub fn submit_async<A, R, F, Fut>(CheckedCall { site, .. }: CheckedCall<A, R>, args: A, function: F) -> Task<R>
where
    A: 'static,
    R: 'static,
    F: Fn(A) -> Fut,
    Fut: Future<Output = R> + Send + 'static,
{
    spawn(site.core(), site.function, site.options, None, function(args))
}

/// `name::submit` of a function that must have started within this many nanoseconds (`deadline`).
pub fn submit_async_within<A, R, F, Fut>(
    CheckedCall { site, .. }: CheckedCall<A, R>,
    nanoseconds: u64,
    args: A,
    function: F,
) -> Task<R>
where
    A: 'static,
    R: 'static,
    F: Fn(A) -> Fut,
    Fut: Future<Output = R> + Send + 'static,
{
    let deadline = Some(Deadline::from(Duration::from_nanos(nanoseconds)));
    spawn(site.core(), site.function, site.options, deadline, function(args))
}

/// `name::map`: a lazy map of the function.
pub fn map_async<I, M, A, R, F, Fut>(
    CheckedCall { site, .. }: CheckedCall<A, R>,
    items: I,
    function: F,
) -> AsyncMap<I::Source, impl MapFuture<A, Out = R> + use<I, M, A, R, F, Fut>, A>
where
    I: Items<A, M>,
    F: Fn(A) -> Fut + Send + Sync,
    Fut: Future<Output = R> + Send,
{
    AsyncMap::new(items.into_source(), function, site.progress)
}

/// `name::map` of a function with `timeout`.
pub fn map_async_timed<I, M, A, R, F, Fut>(
    CheckedCall { site, .. }: CheckedCall<A, R>,
    on_timeout: fn(TaskError) -> R,
    items: I,
    function: F,
) -> AsyncMap<I::Source, impl MapFuture<A, Out = R> + use<I, M, A, R, F, Fut>, A>
where
    I: Items<A, M>,
    F: Fn(A) -> Fut + Send + Sync,
    Fut: Future<Output = R> + Send,
{
    let limit = site.timeout_or_max();
    let timed = move |item| {
        let timed = TimedFuture::new(function(item), limit);
        async move { timed.await.unwrap_or_else(on_timeout) }
    };
    AsyncMap::new(items.into_source(), timed, site.progress)
}

/// `name_map` of a method; every call gets the same receiver.
pub fn map_async_on<I, M, T, R, F, Fut>(
    call: CheckedCall<T, R>,
    receiver: T::Receiver,
    items: I,
    function: F,
) -> AsyncMap<I::Source, impl MapFuture<T::Others, Out = R> + use<I, M, T, R, F, Fut>, T::Others>
where
    T: Method,
    T::Receiver: SharedReceiver,
    I: Items<T::Others, M>,
    F: Fn(T) -> Fut + Send + Sync,
    Fut: Future<Output = R> + Send,
{
    map_async(call.without_receiver(), items, on(receiver, function))
}

/// `name_map` of a method with `timeout`.
pub fn map_async_timed_on<I, M, T, R, F, Fut>(
    call: CheckedCall<T, R>,
    on_timeout: fn(TaskError) -> R,
    receiver: T::Receiver,
    items: I,
    function: F,
) -> AsyncMap<I::Source, impl MapFuture<T::Others, Out = R> + use<I, M, T, R, F, Fut>, T::Others>
where
    T: Method,
    T::Receiver: SharedReceiver,
    I: Items<T::Others, M>,
    F: Fn(T) -> Fut + Send + Sync,
    Fut: Future<Output = R> + Send,
{
    map_async_timed(call.without_receiver(), on_timeout, items, on(receiver, function))
}

/// The method as a function of the arguments after its receiver.
fn on<T, F, Fut>(receiver: T::Receiver, function: F) -> impl Fn(T::Others) -> Fut + Send + Sync
where
    T: Method,
    T::Receiver: SharedReceiver,
    F: Fn(T) -> Fut + Send + Sync,
{
    // SAFETY: the `CheckedCall` of `map_async_on` and `map_async_timed_on`, the only callers, covers the receiver.
    // Threads share it through `&`, and clone it: a `SharedReceiver` that is `Send` is `Sync`.
    let receiver = unsafe { AssertSend::new(receiver) };
    move |rest| function(T::join(receiver.get().clone(), rest))
}
