//! [`On`]: an annotated function on a pool that is chosen at run time, `name::on(&pool)`.
//!
//! `kinds.rs` says how each sort of function is called. The methods for each number of arguments are here, beside the
//! type: compile errors would name them by the module that they are in.

mod calls;
mod kinds;

use std::fmt;
use std::future::Future;

use super::call_site::CheckedCall;
use crate::map::{AnnotatedFn, Items, Map, Single, TimedMap, Tuple};
use crate::pool::Pool;
use crate::task::queueing::Queueing;
use crate::task::{Task, TrySubmitError};

pub use calls::{call_chunks_on, on, on_chunked, on_timed, on_timed_chunked};
use kinds::{CallKind, TaskKind};
pub use kinds::{Chunked, Function, Plain, PoolRef, Timed, TimedChunked};

/// An annotated function on a pool that is chosen at run time: `name::on(&pool)` makes one, for functions of
/// `kind = "cpu"` and `"io"`. `Type::name_on(&pool)` makes one of a method, whose receiver is the first argument. Of a
/// function of `kind = "process"`, `name::on(&pool)` makes the same for a pool of processes.
///
/// It has the function's ways to call it, with the function's options: `call` is the direct call, and `submit` and
/// `map` are those of the function. [`deadline`](Self::deadline) and [`priority`](Self::priority) say how a submitted
/// call is queued.
///
/// The methods below stand here for functions without arguments, with one and with two; there are those for up to 16.
/// `A` are the arguments and `R` is the result; `F`, `K` and the traits in the bounds are internal, and say which
/// options the function has.
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

/// Writes the methods for functions of these arguments. `$item`, `$function` and `$call` are an item of a map, and the
/// function and the call of it.
macro_rules! methods {
    ($($(#[$attr:meta])* [$($name:ident: $ty:ident),*] $item:ty, $function:ident, $call:ident;)*) => {$(
        $(#[$attr])*
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

        $(#[$attr])*
        impl<$($ty,)* R, F: Function<($($ty,)*), R>> On<'_, ($($ty,)*), R, F, Plain> {
            methods!(map $item, $function, $call);
        }

        $(#[$attr])*
        impl<$($ty,)* R, F: Function<($($ty,)*), R>, D> On<'_, ($($ty,)*), R, F, Chunked<D>> {
            methods!(map $item, $function, $call);
        }

        $(#[$attr])*
        impl<$($ty,)* R, F: Function<($($ty,)*), R>, D> On<'_, ($($ty,)*), R, F, TimedChunked<R, D>> {
            methods!(map $item, $function, $call);
        }

        $(#[$attr])*
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
    // The documentation shows those of up to two arguments.
    #[doc(hidden)]
    [a1: A1, a2: A2, a3: A3] (A1, A2, A3), Tuple, tuple;
    #[doc(hidden)]
    [a1: A1, a2: A2, a3: A3, a4: A4] (A1, A2, A3, A4), Tuple, tuple;
    #[doc(hidden)]
    [a1: A1, a2: A2, a3: A3, a4: A4, a5: A5] (A1, A2, A3, A4, A5), Tuple, tuple;
    #[doc(hidden)]
    [a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6] (A1, A2, A3, A4, A5, A6), Tuple, tuple;
    #[doc(hidden)]
    [a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6, a7: A7] (A1, A2, A3, A4, A5, A6, A7), Tuple, tuple;
    #[doc(hidden)]
    [a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6, a7: A7, a8: A8] (A1, A2, A3, A4, A5, A6, A7, A8), Tuple, tuple;
    #[doc(hidden)]
    [a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6, a7: A7, a8: A8, a9: A9] (A1, A2, A3, A4, A5, A6, A7, A8, A9), Tuple, tuple;
    #[doc(hidden)]
    [a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6, a7: A7, a8: A8, a9: A9, a10: A10] (A1, A2, A3, A4, A5, A6, A7, A8, A9, A10), Tuple, tuple;
    #[doc(hidden)]
    [a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6, a7: A7, a8: A8, a9: A9, a10: A10, a11: A11] (A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11), Tuple, tuple;
    #[doc(hidden)]
    [a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6, a7: A7, a8: A8, a9: A9, a10: A10, a11: A11, a12: A12] (A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12), Tuple, tuple;
    #[doc(hidden)]
    [a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6, a7: A7, a8: A8, a9: A9, a10: A10, a11: A11, a12: A12, a13: A13] (A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12, A13), Tuple, tuple;
    #[doc(hidden)]
    [a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6, a7: A7, a8: A8, a9: A9, a10: A10, a11: A11, a12: A12, a13: A13, a14: A14] (A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12, A13, A14), Tuple, tuple;
    #[doc(hidden)]
    [a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6, a7: A7, a8: A8, a9: A9, a10: A10, a11: A11, a12: A12, a13: A13, a14: A14, a15: A15] (A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12, A13, A14, A15), Tuple, tuple;
    #[doc(hidden)]
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
