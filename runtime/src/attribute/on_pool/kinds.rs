//! The sorts of functions: how a direct call of each is made, and what its task runs.

use std::sync::Arc;

use crate::attribute::call::{call_in, call_timed_in};
use crate::attribute::call_site::CheckedCall;
use crate::error::TaskError;
use crate::pool::Core;
use crate::task::queueing::Queueing;

/// How a direct call is made.
#[diagnostic::on_unimplemented(
    message = "a direct call has no room for a deadline or a priority",
    label = "has no `call`",
    note = "queue it with `submit`, `try_submit` or `submit_async`, or give the function the option `deadline`"
)]
pub trait CallKind<A, R, F> {
    #[doc(hidden)]
    fn call(self, pool: PoolRef<'_>, call: CheckedCall<A, R>, queueing: Queueing, args: A, function: F) -> R;
}

/// What a task runs.
pub trait TaskKind<A, R, F> {
    #[doc(hidden)]
    fn task(self, pool: PoolRef<'_>, function: F) -> impl Fn(A) -> R + Send + 'static + use<Self, A, R, F>;
}

/// The function as a closure that captures nothing.
pub trait Function<A, R>: Fn(A) -> R + Send + Sync + Copy {}

impl<A, R, F: Fn(A) -> R + Send + Sync + Copy> Function<A, R> for F {}

/// The pool that is to run a call.
#[derive(Clone, Copy)]
pub struct PoolRef<'a>(pub(in crate::attribute) &'a Arc<Core>);

/// A function without `timeout`, `deadline` and `chunks`.
pub struct Plain(());

impl Plain {
    pub(in crate::attribute) fn new() -> Self {
        Self(())
    }
}

impl<A, R, F: Function<A, R>> CallKind<A, R, F> for Plain {
    #[track_caller]
    fn call(self, pool: PoolRef<'_>, call: CheckedCall<A, R>, _: Queueing, args: A, function: F) -> R {
        call_in(pool.0, call, args, function)
    }
}

impl<A: 'static, R: 'static, F: Function<A, R> + 'static> TaskKind<A, R, F> for Plain {
    fn task(self, _: PoolRef<'_>, function: F) -> impl Fn(A) -> R + Send + 'static + use<A, R, F> {
        function
    }
}

/// A function with `timeout` or `deadline`.
pub struct Timed<R>(pub(super) fn(TaskError) -> R);

impl<A: 'static, R: 'static, F: Function<A, R> + 'static> CallKind<A, R, F> for Timed<R> {
    #[track_caller]
    fn call(self, pool: PoolRef<'_>, call: CheckedCall<A, R>, queueing: Queueing, args: A, function: F) -> R {
        call_timed_in(pool.0, call, queueing, self.0, args, function)
    }
}

impl<A: 'static, R: 'static, F: Function<A, R> + 'static> TaskKind<A, R, F> for Timed<R> {
    fn task(self, _: PoolRef<'_>, function: F) -> impl Fn(A) -> R + Send + 'static + use<A, R, F> {
        function
    }
}

/// A function with `chunks` or `chunk_size`. It holds the chunked call.
pub struct Chunked<D>(D);

impl<D> Chunked<D> {
    pub(in crate::attribute) fn new(chunked: D) -> Self {
        Self(chunked)
    }

    /// Makes the chunked call on this pool.
    #[cfg(feature = "process")]
    #[track_caller]
    pub(in crate::attribute) fn call<A, R>(&self, pool: PoolRef<'_>, args: A) -> R
    where
        D: Fn(PoolRef<'_>, A) -> R,
    {
        (self.0)(pool, args)
    }
}

impl<A, R, F, D: Fn(PoolRef<'_>, A) -> R> CallKind<A, R, F> for Chunked<D> {
    #[track_caller]
    fn call(self, pool: PoolRef<'_>, _: CheckedCall<A, R>, _: Queueing, args: A, _: F) -> R {
        (self.0)(pool, args)
    }
}

impl<A: 'static, R: 'static, F, D: Fn(PoolRef<'_>, A) -> R + Send + 'static> TaskKind<A, R, F> for Chunked<D> {
    fn task(self, PoolRef(core): PoolRef<'_>, _: F) -> impl Fn(A) -> R + Send + 'static + use<A, R, F, D> {
        let core = Arc::clone(core);
        move |args| (self.0)(PoolRef(&core), args)
    }
}

/// A function with `chunks` or `chunk_size`, and a deadline.
pub struct TimedChunked<R, D> {
    pub(super) on_timeout: fn(TaskError) -> R,
    pub(super) chunked: Chunked<D>,
}

impl<A: 'static, R: 'static, F, D: Fn(PoolRef<'_>, A) -> R + Send + 'static> TaskKind<A, R, F> for TimedChunked<R, D> {
    fn task(self, pool: PoolRef<'_>, function: F) -> impl Fn(A) -> R + Send + 'static + use<A, R, F, D> {
        self.chunked.task(pool, function)
    }
}

impl<A: 'static, R: 'static, F, D: Fn(PoolRef<'_>, A) -> R + Send + 'static> CallKind<A, R, F> for TimedChunked<R, D> {
    #[track_caller]
    fn call(self, pool: PoolRef<'_>, call: CheckedCall<A, R>, queueing: Queueing, args: A, function: F) -> R {
        let on_timeout = self.on_timeout;
        call_timed_in(pool.0, call, queueing, on_timeout, args, self.task(pool, function))
    }
}

/// A function that is to be queued with a deadline or a priority.
pub struct Queued<K>(K);

#[diagnostic::do_not_recommend]
impl<A: 'static, R: 'static, F, D> CallKind<A, R, F> for Queued<TimedChunked<R, D>>
where
    D: Fn(PoolRef<'_>, A) -> R + Send + 'static,
{
    #[track_caller]
    fn call(self, pool: PoolRef<'_>, call: CheckedCall<A, R>, queueing: Queueing, args: A, function: F) -> R {
        self.0.call(pool, call, queueing, args, function)
    }
}

#[diagnostic::do_not_recommend]
impl<A: 'static, R: 'static, F: Function<A, R> + 'static> CallKind<A, R, F> for Queued<Timed<R>> {
    #[track_caller]
    fn call(self, pool: PoolRef<'_>, call: CheckedCall<A, R>, queueing: Queueing, args: A, function: F) -> R {
        self.0.call(pool, call, queueing, args, function)
    }
}

impl<A, R, F, K: TaskKind<A, R, F>> TaskKind<A, R, F> for Queued<K> {
    fn task(self, pool: PoolRef<'_>, function: F) -> impl Fn(A) -> R + Send + 'static + use<A, R, F, K> {
        self.0.task(pool, function)
    }
}

/// A way to be queued, to which a deadline and a priority can be added.
pub trait Queueable {
    /// The way with them.
    type Queued;
    #[doc(hidden)]
    fn queued(self) -> Self::Queued;
}

macro_rules! queueable {
    ($([$($param:ident),*] $kind:ty => $queued:ty, $this:ident => $value:expr;)*) => {$(
        impl<$($param),*> Queueable for $kind {
            type Queued = $queued;

            fn queued(self) -> $queued {
                let $this = self;
                $value
            }
        }
    )*};
}

queueable! {
    [] Plain => Queued<Self>, this => Queued(this);
    [R] Timed<R> => Queued<Self>, this => Queued(this);
    [D] Chunked<D> => Queued<Self>, this => Queued(this);
    [R, D] TimedChunked<R, D> => Queued<Self>, this => Queued(this);
    [K] Queued<K> => Self, this => this;
}
