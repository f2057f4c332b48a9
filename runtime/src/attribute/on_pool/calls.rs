//! What makes an [`On`], and its calls for any number of arguments.

use std::future::Future;
use std::sync::Arc;

use super::On;
use super::kinds::{CallKind, Chunked, Function, Plain, PoolRef, Queueable, TaskKind, Timed, TimedChunked};
use crate::attribute::call::{submit_async_in, submit_in, try_submit_in, with_options};
use crate::attribute::call_site::CheckedCall;
use crate::attribute::chunks::{Chunking, CutAll, call_chunks_in};
use crate::error::TaskError;
use crate::map::{self, AnnotatedFn, ItemFn, Items, Map};
use crate::pool::{Core, Pool};
use crate::task::queueing::Queueing;
use crate::task::{Deadline, Priority, Task, TrySubmitError};

/// `name::on` of a function without `timeout` and `chunks`.
pub fn on<A, R, F: Function<A, R>>(call: CheckedCall<A, R>, pool: &Pool, function: F) -> On<'_, A, R, F> {
    On { pool, call, function, kind: Plain::new(), queueing: Queueing::default() }
}

/// `name::on` of a function with `timeout` or `deadline`.
pub fn on_timed<A, R, F: Function<A, R>>(
    call: CheckedCall<A, R>,
    pool: &Pool,
    function: F,
    on_timeout: fn(TaskError) -> R,
) -> On<'_, A, R, F, Timed<R>> {
    On { pool, call, function, kind: Timed(on_timeout), queueing: Queueing::default() }
}

/// `name::on` of a function with chunks; `chunked` is its direct call on a pool.
pub fn on_chunked<A, R, F: Function<A, R>, D: Fn(PoolRef<'_>, A) -> R>(
    call: CheckedCall<A, R>,
    pool: &Pool,
    function: F,
    chunked: D,
) -> On<'_, A, R, F, Chunked<D>> {
    On { pool, call, function, kind: Chunked::new(chunked), queueing: Queueing::default() }
}

/// `name::on` of a function with chunks and a deadline.
pub fn on_timed_chunked<A, R, F: Function<A, R>, D: Fn(PoolRef<'_>, A) -> R + Send>(
    call: CheckedCall<A, R>,
    pool: &Pool,
    function: F,
    on_timeout: fn(TaskError) -> R,
    chunked: D,
) -> On<'_, A, R, F, TimedChunked<R, D>> {
    let kind = TimedChunked { on_timeout, chunked: Chunked::new(chunked) };
    On { pool, call, function, kind, queueing: Queueing::default() }
}

/// The direct call of a function with chunks, on this pool.
///
/// # Panics
///
/// As [`call_chunks`](crate::attribute::chunks::call_chunks).
#[track_caller]
pub fn call_chunks_on<S, C: CutAll<S>, A, R>(
    pool: PoolRef<'_>,
    call: CheckedCall<A, R>,
    chunking: Chunking<C, R>,
    whole: S,
    with: impl FnMut(S) -> A,
    function: impl Fn(A) -> R + Sync,
) -> R {
    call_chunks_in(pool.0, call, chunking, whole, with, function)
}

impl<'p, A, R, F: Function<A, R>, K> On<'p, A, R, F, K> {
    #[track_caller]
    fn core(&self) -> &'p Arc<Core> {
        self.pool.core().with_threads(self.call.site.function)
    }

    #[track_caller]
    pub(super) fn direct(self, args: A) -> R
    where
        K: CallKind<A, R, F>,
    {
        let core = self.core();
        self.kind.call(PoolRef(core), self.call, self.queueing, args, self.function)
    }

    #[track_caller]
    pub(super) fn task(self, args: A) -> Task<R>
    where
        A: 'static,
        R: 'static,
        K: TaskKind<A, R, F>,
    {
        let core = self.core();
        submit_in(core, self.call, self.queueing, args, self.kind.task(PoolRef(core), self.function))
    }

    #[track_caller]
    pub(super) fn try_task(self, args: A) -> Result<Task<R>, TrySubmitError<A>>
    where
        A: 'static,
        R: 'static,
        K: TaskKind<A, R, F>,
    {
        let core = self.core();
        try_submit_in(core, self.call, self.queueing, args, self.kind.task(PoolRef(core), self.function))
    }

    #[track_caller]
    pub(super) fn task_async(self, args: A) -> impl Future<Output = Task<R>> + use<A, R, F, K>
    where
        A: 'static,
        R: 'static,
        K: TaskKind<A, R, F>,
    {
        let core = self.core();
        submit_async_in(Arc::clone(core), self.call, self.queueing, args, self.kind.task(PoolRef(core), self.function))
    }

    /// With the option `deadline` of the function, in nanoseconds.
    #[doc(hidden)]
    pub fn within(self, nanoseconds: u64) -> Self {
        Self { queueing: Queueing::within(nanoseconds), ..self }
    }

    /// Sets the time by which the call must have started: a [`Duration`](std::time::Duration) from now on, which counts
    /// the time in the queue, or an [`Instant`](std::time::Instant). See [`Deadline`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use fanfold::{Pool, TaskError, parallel};
    ///
    /// #[parallel(kind = "cpu")]
    /// fn render(page: u32) -> String {
    ///     format!("page {page}")
    /// }
    ///
    /// let pool = Pool::cpu_default();
    /// let page = render::on(pool).deadline(Duration::from_secs(60)).submit(1);
    /// assert_eq!(page.join().unwrap(), "page 1");
    /// let late = render::on(pool).deadline(Duration::ZERO).submit(2);
    /// assert!(matches!(late.join(), Err(TaskError::TimedOut { .. })));
    /// ```
    pub fn deadline(self, deadline: impl Into<Deadline>) -> On<'p, A, R, F, K::Queued>
    where
        K: Queueable,
    {
        let queueing = Queueing { deadline: Some(deadline.into()), ..self.queueing };
        self.queued(queueing)
    }

    /// Sets the [`Priority`] among the tasks that wait in the pool's queue.
    pub fn priority(self, priority: Priority) -> On<'p, A, R, F, K::Queued>
    where
        K: Queueable,
    {
        let queueing = Queueing { priority, ..self.queueing };
        self.queued(queueing)
    }

    fn queued(self, queueing: Queueing) -> On<'p, A, R, F, K::Queued>
    where
        K: Queueable,
    {
        let Self { pool, call, function, kind, .. } = self;
        On { pool, call, function, kind: kind.queued(), queueing }
    }

    /// The map of the function.
    #[track_caller]
    pub(super) fn map_items<I, M, T, G>(
        &self,
        items: I,
        call: CheckedCall<T, R>,
        function: G,
    ) -> Map<I::Source, AnnotatedFn<G, T, R>, T>
    where
        I: Items<T, M>,
        G: ItemFn<T, R>,
    {
        let CheckedCall { site, proof } = call;
        let core = Arc::clone(self.core());
        with_options(site, map::of_function(core.into(), site.function, proof, items.into_source(), function))
    }
}
