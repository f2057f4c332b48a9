//! What the attribute's code calls for an `async fn` (feature `tokio`): the direct call, `submit` and `map`.

use std::future::Future;

use super::site::Call;
use crate::async_fn::{AsyncMap, MapFuture, TimedFuture, spawn, within};
use crate::error::TaskError;
use crate::map::Items;
use crate::map::method::{Method, Receiver};
use crate::task::Task;
use crate::task::send_proof::AssertSend;

/// The direct call: a future that is polled where it is awaited, in the caller's runtime or, without one, in touch
/// with Fanfold's own.
pub fn call_async<A, R, F, Fut>(_: Call<A, R>, args: A, function: F) -> impl Future<Output = R>
where
    F: Fn(A) -> Fut,
    Fut: Future<Output = R>,
{
    within(function(args))
}

/// The direct call of a function with `timeout`: when time is up its future is dropped.
pub fn call_async_timed<A, R, F, Fut>(
    Call { site, .. }: Call<A, R>,
    late: fn(TaskError) -> R,
    args: A,
    function: F,
) -> impl Future<Output = R>
where
    F: Fn(A) -> Fut,
    Fut: Future<Output = R>,
{
    let timed = TimedFuture::new(function(args), site.limit());
    async move { timed.await.unwrap_or_else(late) }
}

/// `name::submit`: has a runtime poll the call, and gives its handle.
pub fn submit_async<A, R, F, Fut>(Call { site, .. }: Call<A, R>, args: A, function: F) -> Task<R>
where
    A: 'static,
    R: 'static,
    F: Fn(A) -> Fut,
    Fut: Future<Output = R> + Send + 'static,
{
    spawn(site.core(), site.function, site.terms, function(args))
}

/// `name::map`: a lazy map of the function.
pub fn map_async<I, M, A, R, F, Fut>(
    Call { site, .. }: Call<A, R>,
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
    Call { site, .. }: Call<A, R>,
    late: fn(TaskError) -> R,
    items: I,
    function: F,
) -> AsyncMap<I::Source, impl MapFuture<A, Out = R> + use<I, M, A, R, F, Fut>, A>
where
    I: Items<A, M>,
    F: Fn(A) -> Fut + Send + Sync,
    Fut: Future<Output = R> + Send,
{
    let limit = site.limit();
    let timed = move |item| {
        let timed = TimedFuture::new(function(item), limit);
        async move { timed.await.unwrap_or_else(late) }
    };
    AsyncMap::new(items.into_source(), timed, site.progress)
}

/// `name_map` of a method, with the receiver that all items are given.
pub fn map_async_on<I, M, T, R, F, Fut>(
    call: Call<T, R>,
    receiver: T::Receiver,
    items: I,
    function: F,
) -> AsyncMap<I::Source, impl MapFuture<T::Others, Out = R> + use<I, M, T, R, F, Fut>, T::Others>
where
    T: Method,
    T::Receiver: Receiver,
    I: Items<T::Others, M>,
    F: Fn(T) -> Fut + Send + Sync,
    Fut: Future<Output = R> + Send,
{
    map_async(call.rest(), items, on(receiver, function))
}

/// `name_map` of a method with `timeout`.
pub fn map_async_timed_on<I, M, T, R, F, Fut>(
    call: Call<T, R>,
    late: fn(TaskError) -> R,
    receiver: T::Receiver,
    items: I,
    function: F,
) -> AsyncMap<I::Source, impl MapFuture<T::Others, Out = R> + use<I, M, T, R, F, Fut>, T::Others>
where
    T: Method,
    T::Receiver: Receiver,
    I: Items<T::Others, M>,
    F: Fn(T) -> Fut + Send + Sync,
    Fut: Future<Output = R> + Send,
{
    map_async_timed(call.rest(), late, items, on(receiver, function))
}

/// A method as a function of its other arguments.
fn on<T, F, Fut>(receiver: T::Receiver, function: F) -> impl Fn(T::Others) -> Fut + Send + Sync
where
    T: Method,
    T::Receiver: Receiver,
    F: Fn(T) -> Fut + Send + Sync,
{
    // SAFETY: the caller's proof stands for the receiver; each call takes a clone, and a `Receiver` that is `Send` is
    // `Sync`.
    let receiver = unsafe { AssertSend::new(receiver) };
    move |rest| function(T::join(receiver.get().clone(), rest))
}
