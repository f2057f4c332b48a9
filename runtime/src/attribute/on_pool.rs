//! [`On`]: an annotated function on a pool that is chosen at run time, `name::on(&pool)`.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use super::call::{call_in, call_timed_in, submit_async_in, submit_in, try_submit_in, with_options};
use super::call_site::CheckedCall;
use super::chunks::{Chunking, CutAll, call_chunks_in};
use crate::error::TaskError;
use crate::map::{self, AnnotatedFn, ItemFn, Items, Map, Single, TimedMap, Tuple};
use crate::pool::{Core, Pool};
use crate::task::queueing::Queueing;
use crate::task::{Deadline, Priority, Task, TrySubmitError};

/// An annotated function on a pool that is chosen at run time: `name::on(&pool)` makes one, for functions of
/// `kind = "cpu"` and `"io"`. `Type::name_on(&pool)` makes one of a method, whose receiver is the first argument. Of a
/// function of `kind = "process"`, `name::on(&pool)` makes the same for a pool of processes.
///
/// It has the function's ways to call it, with the function's options: `call` is the direct call, and `submit` and `map`
/// are those of the function. [`deadline`](Self::deadline) and [`priority`](Self::priority) say how a submitted call is
/// queued.
///
/// # Examples
///
/// ```
/// use fanfold::{Pool, parallel};
///
/// #[parallel(kind = "io")]
/// fn greet(name: &str, times: usize) -> String {
///     name.repeat(times)
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tenant = Pool::io("tenant").threads(2).build()?; // one for each tenant of a service
/// assert_eq!(greet::on(&tenant).call("hi", 2), "hihi");
/// assert_eq!(greet::on(&tenant).submit("ho", 2).join()?, "hoho");
/// let all: Vec<String> = greet::on(&tenant).map([("a", 1), ("b", 2)]).collect();
/// assert_eq!(all, ["a", "bb"]);
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is called before `call`, `submit` or `map`"]
pub struct On<'p, A, R, F, K = Plain> {
    pool: &'p Pool,
    call: CheckedCall<A, R>,
    function: F,
    kind: K,
    queueing: Queueing,
}

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
pub struct PoolRef<'a>(pub(super) &'a Arc<Core>);

/// A function without `timeout`, `deadline` and `chunks`.
pub struct Plain(());

#[cfg(feature = "process")]
impl Plain {
    pub(super) fn new() -> Self {
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
pub struct Timed<R>(fn(TaskError) -> R);

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

#[cfg(feature = "process")]
impl<D> Chunked<D> {
    pub(super) fn new(chunked: D) -> Self {
        Self(chunked)
    }

    /// Makes the chunked call on this pool.
    #[track_caller]
    pub(super) fn call<A, R>(&self, pool: PoolRef<'_>, args: A) -> R
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
    on_timeout: fn(TaskError) -> R,
    chunked: Chunked<D>,
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

/// `name::on` of a function without `timeout` and `chunks`.
pub fn on<A, R, F: Function<A, R>>(call: CheckedCall<A, R>, pool: &Pool, function: F) -> On<'_, A, R, F> {
    On { pool, call, function, kind: Plain(()), queueing: Queueing::default() }
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
    On { pool, call, function, kind: Chunked(chunked), queueing: Queueing::default() }
}

/// `name::on` of a function with chunks and a deadline.
pub fn on_timed_chunked<A, R, F: Function<A, R>, D: Fn(PoolRef<'_>, A) -> R + Send>(
    call: CheckedCall<A, R>,
    pool: &Pool,
    function: F,
    on_timeout: fn(TaskError) -> R,
    chunked: D,
) -> On<'_, A, R, F, TimedChunked<R, D>> {
    let kind = TimedChunked { on_timeout, chunked: Chunked(chunked) };
    On { pool, call, function, kind, queueing: Queueing::default() }
}

/// The direct call of a function with chunks, on this pool.
///
/// # Panics
///
/// As [`call_chunks`](super::chunks::call_chunks).
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
    fn direct(self, args: A) -> R
    where
        K: CallKind<A, R, F>,
    {
        let core = self.core();
        self.kind.call(PoolRef(core), self.call, self.queueing, args, self.function)
    }

    #[track_caller]
    fn task(self, args: A) -> Task<R>
    where
        A: 'static,
        R: 'static,
        K: TaskKind<A, R, F>,
    {
        let core = self.core();
        submit_in(core, self.call, self.queueing, args, self.kind.task(PoolRef(core), self.function))
    }

    #[track_caller]
    fn try_task(self, args: A) -> Result<Task<R>, TrySubmitError<A>>
    where
        A: 'static,
        R: 'static,
        K: TaskKind<A, R, F>,
    {
        let core = self.core();
        try_submit_in(core, self.call, self.queueing, args, self.kind.task(PoolRef(core), self.function))
    }

    #[track_caller]
    fn task_async(self, args: A) -> impl Future<Output = Task<R>> + use<A, R, F, K>
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
    fn map_items<I, M, T, G>(
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

/// Writes the methods for functions of these arguments. `$item`, `$function` and `$call` are an item of a map, and the
/// function and the call of it.
macro_rules! methods {
    ($([$($name:ident: $ty:ident),*] $item:ty, $function:ident, $call:ident;)*) => {$(
        impl<$($ty,)* R, F: Function<($($ty,)*), R>, K> On<'_, ($($ty,)*), R, F, K> {
            /// Runs the function on a worker of the pool and waits, as the direct call does.
            ///
            /// # Panics
            ///
            /// As the direct call, and if the pool has processes for threads.
            #[track_caller]
            #[allow(clippy::too_many_arguments, reason = "those of the function")]
            pub fn call(self, $($name: $ty),*) -> R
            where
                K: CallKind<($($ty,)*), R, F>,
            {
                self.direct(($($name,)*))
            }

            /// Queues a call on the pool and returns a task to join or await.
            ///
            /// # Panics
            ///
            /// If the pool has processes for threads.
            #[track_caller]
            #[allow(clippy::too_many_arguments, reason = "those of the function")]
            pub fn submit(self, $($name: $ty),*) -> Task<R>
            where
                $($ty: 'static,)*
                R: 'static,
                K: TaskKind<($($ty,)*), R, F>,
            {
                self.task(($($name,)*))
            }

            /// As `submit`, unless the pool's queue is full ([`Pool::queue_limit`]): it never waits.
            ///
            /// # Errors
            ///
            /// [`TrySubmitError`] with the arguments as a tuple, if the queue is full.
            ///
            /// # Panics
            ///
            /// If the pool has processes for threads.
            #[track_caller]
            #[allow(clippy::too_many_arguments, reason = "those of the function")]
            pub fn try_submit(self, $($name: $ty),*) -> Result<Task<R>, TrySubmitError<($($ty,)*)>>
            where
                $($ty: 'static,)*
                R: 'static,
                K: TaskKind<($($ty,)*), R, F>,
            {
                self.try_task(($($name,)*))
            }

            /// As `submit`, and awaits a place if the pool's queue is full ([`Pool::queue_limit`]), without blocking a
            /// thread. The output is the task.
            ///
            /// # Panics
            ///
            /// If the pool has processes for threads.
            #[track_caller]
            #[allow(clippy::too_many_arguments, reason = "those of the function")]
            pub fn submit_async(self, $($name: $ty),*) -> impl Future<Output = Task<R>> + use<$($ty,)* R, F, K>
            where
                $($ty: 'static,)*
                R: 'static,
                K: TaskKind<($($ty,)*), R, F>,
            {
                self.task_async(($($name,)*))
            }
        }

        impl<$($ty,)* R, F: Function<($($ty,)*), R>> On<'_, ($($ty,)*), R, F, Plain> {
            methods!(map $item, $function, $call);
        }

        impl<$($ty,)* R, F: Function<($($ty,)*), R>, D> On<'_, ($($ty,)*), R, F, Chunked<D>> {
            methods!(map $item, $function, $call);
        }

        impl<$($ty,)* R, F: Function<($($ty,)*), R>, D> On<'_, ($($ty,)*), R, F, TimedChunked<R, D>> {
            methods!(map $item, $function, $call);
        }

        impl<$($ty,)* R, F: Function<($($ty,)*), R>> On<'_, ($($ty,)*), R, F, Timed<R>> {
            /// Runs the function on many items on the pool; lazy until it is ended.
            ///
            /// # Panics
            ///
            /// If the pool has processes for threads.
            #[track_caller]
            pub fn map<I: Items<$item, M>, M>(
                self,
                items: I,
            ) -> TimedMap<I::Source, AnnotatedFn<$function<F>, $item, R>, $item> {
                let map = self.map_items(items, self.call.$call(), $function(self.function));
                TimedMap::new(map, self.call.site.timeout_or_max(), self.kind.0)
            }
        }
    )*};
    (map $item:ty, $function:ident, $call:ident) => {
        /// Runs the function on many items on the pool; lazy until it is ended.
        ///
        /// # Panics
        ///
        /// If the pool has processes for threads.
        #[track_caller]
        pub fn map<I: Items<$item, M>, M>(
            self,
            items: I,
        ) -> Map<I::Source, AnnotatedFn<$function<F>, $item, R>, $item> {
            self.map_items(items, self.call.$call(), $function(self.function))
        }
    };
}

methods! {
    [] (), Tuple, tuple;
    [a1: A1] A1, Single, single_argument;
    [a1: A1, a2: A2] (A1, A2), Tuple, tuple;
    [a1: A1, a2: A2, a3: A3] (A1, A2, A3), Tuple, tuple;
    [a1: A1, a2: A2, a3: A3, a4: A4] (A1, A2, A3, A4), Tuple, tuple;
    [a1: A1, a2: A2, a3: A3, a4: A4, a5: A5] (A1, A2, A3, A4, A5), Tuple, tuple;
    [a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6] (A1, A2, A3, A4, A5, A6), Tuple, tuple;
    [a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6, a7: A7] (A1, A2, A3, A4, A5, A6, A7), Tuple, tuple;
    [a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6, a7: A7, a8: A8] (A1, A2, A3, A4, A5, A6, A7, A8), Tuple, tuple;
    [a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6, a7: A7, a8: A8, a9: A9] (A1, A2, A3, A4, A5, A6, A7, A8, A9), Tuple, tuple;
    [a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6, a7: A7, a8: A8, a9: A9, a10: A10] (A1, A2, A3, A4, A5, A6, A7, A8, A9, A10), Tuple, tuple;
    [a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6, a7: A7, a8: A8, a9: A9, a10: A10, a11: A11] (A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11), Tuple, tuple;
    [a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6, a7: A7, a8: A8, a9: A9, a10: A10, a11: A11, a12: A12] (A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12), Tuple, tuple;
    [a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6, a7: A7, a8: A8, a9: A9, a10: A10, a11: A11, a12: A12, a13: A13] (A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12, A13), Tuple, tuple;
    [a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6, a7: A7, a8: A8, a9: A9, a10: A10, a11: A11, a12: A12, a13: A13, a14: A14] (A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12, A13, A14), Tuple, tuple;
    [a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6, a7: A7, a8: A8, a9: A9, a10: A10, a11: A11, a12: A12, a13: A13, a14: A14, a15: A15] (A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12, A13, A14, A15), Tuple, tuple;
    [a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6, a7: A7, a8: A8, a9: A9, a10: A10, a11: A11, a12: A12, a13: A13, a14: A14, a15: A15, a16: A16] (A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12, A13, A14, A15, A16), Tuple, tuple;
}

impl<A, R> CheckedCall<A, R> {
    /// The call itself, where [`single_argument`](Self::single_argument) changes the one of a single argument.
    fn tuple(self) -> Self {
        self
    }
}

impl<A, R, F, K> fmt::Debug for On<'_, A, R, F, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("On").field("function", &self.call.site.function).field("pool", self.pool).finish()
    }
}
