//! [`OnProcesses`]: a function of `kind = "process"` on a pool that is chosen at run time, `name::on(&pool)`.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use super::call_site::CallSite;
use super::on_pool::{Chunked, Plain, PoolRef};
use super::process::{call_process_in, core_of};
use super::process_map::{ProcessFn, map_process_in};
use super::process_queue::{
    call_chunks_queued, call_queued, submit_chunks_process_in, submit_process_async_in, submit_process_in,
    try_submit_process_in,
};
use super::remote::Remote;
use crate::map::{Items, Map};
use crate::pool::{Core, Pool};
use crate::process::Code;
use crate::task::queueing::Queueing;
use crate::task::{Deadline, Priority, Task, TrySubmitError};

/// A function of `kind = "process"` on a [`Pool::process`] that is chosen at run time: `name::on(&pool)` makes one.
///
/// It has the function's ways to call it, with the function's options, as [`On`](crate::On) has those of functions on
/// threads.
///
/// The methods below stand here for functions without arguments, with one and with two; there are those for up to 12.
/// `A` are the arguments and `R` is the result; `C`, `D` and `K` are internal: how these are encoded, and which options
/// the function has.
///
/// # Examples
///
/// ```standalone_crate
/// use fanfold::{Pool, parallel};
///
/// #[parallel(kind = "process")]
/// fn double(n: u32) -> u32 {
///     n * 2
/// }
///
/// #[fanfold::main]
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let tenant = Pool::process("tenant").threads(2).build()?; // one for each tenant of a service
///     assert_eq!(double::on(&tenant).call(21), 42);
///     assert_eq!(double::on(&tenant).submit(4).join()?, 8);
///     let all: Vec<u32> = double::on(&tenant).map([1, 2]).collect();
///     assert_eq!(all, [2, 4]);
///     Ok(())
/// }
/// ```
#[must_use = "nothing is called before `call`, `submit` or `map`"]
pub struct OnProcesses<'p, A, R, C, D, K = Plain> {
    pool: &'p Pool,
    site: CallSite,
    remote: Remote<A, R, C, D>,
    kind: K,
    queueing: Queueing,
}

/// `name::on` of a function without `chunks`, with the deadline if that is not 0.
pub fn on_processes<A, R, C: Code<A>, D: Code<R>>(
    site: CallSite,
    remote: Remote<A, R, C, D>,
    nanoseconds: u64,
    pool: &Pool,
) -> OnProcesses<'_, A, R, C, D> {
    OnProcesses { pool, site, remote, kind: Plain::new(), queueing: Queueing::within(nanoseconds) }
}

/// `name::on` of a function with chunks; `chunked` is its direct call on a pool.
pub fn on_processes_chunked<A, R, C: Code<A>, D: Code<R>, F: Fn(PoolRef<'_>, A) -> R>(
    site: CallSite,
    remote: Remote<A, R, C, D>,
    nanoseconds: u64,
    pool: &Pool,
    chunked: F,
) -> OnProcesses<'_, A, R, C, D, Chunked<F>> {
    OnProcesses { pool, site, remote, kind: Chunked::new(chunked), queueing: Queueing::within(nanoseconds) }
}

impl<'p, A, R, C: Code<A>, D: Code<R>, K> OnProcesses<'p, A, R, C, D, K> {
    #[track_caller]
    fn core(&self) -> &'p Arc<Core> {
        core_of(self.pool, self.site.function)
    }

    /// Sets the time by which the call must have started: a [`Duration`](std::time::Duration) from now on, which counts
    /// the time in the queue, or an [`Instant`](std::time::Instant). See [`Deadline`]. The worker process of a call
    /// that runs by then is killed.
    pub fn deadline(self, deadline: impl Into<Deadline>) -> Self {
        Self { queueing: Queueing { deadline: Some(deadline.into()), ..self.queueing }, ..self }
    }

    /// Sets the [`Priority`] among the tasks that wait in the pool's queue.
    pub fn priority(self, priority: Priority) -> Self {
        Self { queueing: Queueing { priority, ..self.queueing }, ..self }
    }
}

/// Writes the methods for functions of these arguments. `$item` is an item of a map, which `$wrap` makes the arguments.
macro_rules! methods {
    ($($(#[$attr:meta])* [$($name:ident: $ty:ident),*] $item:ty, $wrap:expr;)*) => {$(
        $(#[$attr])*
        impl<$($ty: 'static,)* R: 'static, C: Code<($($ty,)*)> + 'static, D: Code<R> + 'static>
            OnProcesses<'_, ($($ty,)*), R, C, D>
        {
            /// Runs the function in a worker process of the pool and waits, as the direct call does.
            ///
            /// # Panics
            ///
            /// As the direct call, and if the pool has threads for processes. If the deadline is over and the result
            /// cannot hold a [`TaskError`](crate::TaskError).
            #[track_caller]
            #[allow(clippy::too_many_arguments, reason = "those of the function")]
            pub fn call(self, $($name: $ty),*) -> R {
                match self.queueing {
                    Queueing { deadline: None, priority: Priority::Normal } => {
                        call_process_in(self.core(), self.site, self.remote, ($($name,)*))
                    }
                    queueing => call_queued(self.core(), self.site, self.remote, queueing, ($($name,)*)),
                }
            }

            /// Queues a call on the pool and returns a task to join or await.
            ///
            /// # Panics
            ///
            /// If the pool has threads for processes.
            #[track_caller]
            #[allow(clippy::too_many_arguments, reason = "those of the function")]
            pub fn submit(self, $($name: $ty),*) -> Task<R> {
                submit_process_in(self.core(), self.site, self.remote, self.queueing, ($($name,)*))
            }

            /// As `submit`, unless the pool's queue is full ([`Pool::queue_limit`]): it never waits.
            ///
            /// # Errors
            ///
            /// [`TrySubmitError`] with the arguments as a tuple, if the queue is full.
            ///
            /// # Panics
            ///
            /// If the pool has threads for processes.
            #[track_caller]
            #[allow(clippy::too_many_arguments, reason = "those of the function")]
            pub fn try_submit(self, $($name: $ty),*) -> Result<Task<R>, TrySubmitError<($($ty,)*)>> {
                try_submit_process_in(self.core(), self.site, self.remote, self.queueing, ($($name,)*))
            }

            /// As `submit`, and awaits a place if the pool's queue is full ([`Pool::queue_limit`]), without blocking a
            /// thread. The output is the task.
            ///
            /// # Panics
            ///
            /// If the pool has threads for processes.
            #[track_caller]
            #[allow(clippy::too_many_arguments, reason = "those of the function")]
            pub fn submit_async(self, $($name: $ty),*) -> impl Future<Output = Task<R>> + use<$($ty,)* R, C, D> {
                let core = Arc::clone(self.core());
                submit_process_async_in(core, self.site, self.remote, self.queueing, ($($name,)*))
            }
        }

        $(#[$attr])*
        impl<$($ty: 'static,)* R: 'static, C: Code<($($ty,)*)> + 'static, D: Code<R> + 'static, F>
            OnProcesses<'_, ($($ty,)*), R, C, D, Chunked<F>>
        where
            F: Fn(PoolRef<'_>, ($($ty,)*)) -> R,
        {
            /// Cuts the arguments and runs each piece in a worker process of the pool, as the direct call does.
            ///
            /// # Panics
            ///
            /// As the direct call, and if the pool has threads for processes. If the deadline is over and the result
            /// cannot hold a [`TaskError`](crate::TaskError).
            #[track_caller]
            #[allow(clippy::too_many_arguments, reason = "those of the function")]
            pub fn call(self, $($name: $ty),*) -> R
            where
                F: Send + 'static,
            {
                if let Queueing { deadline: None, priority: Priority::Normal } = self.queueing {
                    return self.kind.call(PoolRef(self.core()), ($($name,)*));
                }
                let (core, kind) = (Arc::clone(self.core()), self.kind);
                let call = move |args| kind.call(PoolRef(&core), args);
                call_chunks_queued(self.site, self.remote, self.queueing, ($($name,)*), call)
            }

            /// Queues the direct call and returns a task to join or await.
            ///
            /// # Panics
            ///
            /// If the pool has threads for processes.
            #[track_caller]
            #[allow(clippy::too_many_arguments, reason = "those of the function")]
            pub fn submit(self, $($name: $ty),*) -> Task<R>
            where
                F: Send + 'static,
            {
                let (core, kind) = (Arc::clone(self.core()), self.kind);
                let call = move |args| kind.call(PoolRef(&core), args);
                submit_chunks_process_in(self.site, &self.remote, self.queueing, ($($name,)*), call)
            }
        }

        $(#[$attr])*
        impl<$($ty: 'static,)* R: 'static, C: Code<($($ty,)*)> + 'static, D: Code<R> + 'static, K>
            OnProcesses<'_, ($($ty,)*), R, C, D, K>
        {
            /// Runs the function on many items in worker processes of the pool; lazy until it is ended.
            ///
            /// # Panics
            ///
            /// If the pool has threads for processes.
            #[track_caller]
            pub fn map<I: Items<$item, M>, M>(self, items: I) -> Map<I::Source, ProcessFn<$item, R>, $item> {
                let core = Arc::clone(self.core());
                map_process_in(core.into(), self.site, self.remote, $wrap, items)
            }
        }
    )*};
}

methods! {
    [] (), |arguments| arguments;
    [a1: A1] A1, |argument| (argument,);
    [a1: A1, a2: A2] (A1, A2), |arguments| arguments;
    // The documentation shows those of up to two arguments.
    #[doc(hidden)]
    [a1: A1, a2: A2, a3: A3] (A1, A2, A3), |arguments| arguments;
    #[doc(hidden)]
    [a1: A1, a2: A2, a3: A3, a4: A4] (A1, A2, A3, A4), |arguments| arguments;
    #[doc(hidden)]
    [a1: A1, a2: A2, a3: A3, a4: A4, a5: A5] (A1, A2, A3, A4, A5), |arguments| arguments;
    #[doc(hidden)]
    [a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6] (A1, A2, A3, A4, A5, A6), |arguments| arguments;
    #[doc(hidden)]
    [a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6, a7: A7] (A1, A2, A3, A4, A5, A6, A7), |arguments| arguments;
    #[doc(hidden)]
    [a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6, a7: A7, a8: A8] (A1, A2, A3, A4, A5, A6, A7, A8), |arguments| arguments;
    #[doc(hidden)]
    [a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6, a7: A7, a8: A8, a9: A9] (A1, A2, A3, A4, A5, A6, A7, A8, A9), |arguments| arguments;
    #[doc(hidden)]
    [a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6, a7: A7, a8: A8, a9: A9, a10: A10] (A1, A2, A3, A4, A5, A6, A7, A8, A9, A10), |arguments| arguments;
    #[doc(hidden)]
    [a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6, a7: A7, a8: A8, a9: A9, a10: A10, a11: A11] (A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11), |arguments| arguments;
    #[doc(hidden)]
    [a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6, a7: A7, a8: A8, a9: A9, a10: A10, a11: A11, a12: A12] (A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12), |arguments| arguments;
}

impl<A, R, C, D, K> fmt::Debug for OnProcesses<'_, A, R, C, D, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnProcesses").field("function", &self.site.function).field("pool", self.pool).finish()
    }
}
