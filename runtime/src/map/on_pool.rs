//! [`Pool::map`]: a closure on every item; and [`Map::on`]: another pool for a map.

use std::any::type_name;
use std::sync::Arc;

use super::{Closure, Map, MapFn, PoolItems, Source};
use crate::pool::{CoreRef, Pool};
use crate::task::send_proof::CallProof;

impl Pool {
    /// Runs a closure on every item; lazy until it is ended. As `name::map` of an annotated function.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::Pool;
    ///
    /// let lengths: Vec<usize> = Pool::cpu_default().map(["a", "bcd"], str::len).collect();
    /// assert_eq!(lengths, [1, 3]);
    /// ```
    ///
    /// # Panics
    ///
    /// As [`submit`](Self::submit).
    #[track_caller]
    pub fn map<S, A, M, R, F>(&self, items: S, function: F) -> Map<S::Source, Closure<F, A, R>, A>
    where
        S: PoolItems<A, M>,
        A: Send,
        R: Send,
        F: Fn(A) -> R + Sync,
    {
        let function = Closure::new(function, CallProof::by_bounds());
        let core = self.core().with_threads("closures");
        // A default pool's handle is that of the static.
        let handle: CoreRef =
            if core.is_default_cpu() { Self::cpu_default().core().into() } else { Arc::clone(core).into() };
        Map::new(handle, type_name::<F>(), items.into_source(), function)
    }
}

impl<S, F, A> Map<S, F, A>
where
    S: Source<Item = A>,
    F: MapFn<A>,
{
    /// Runs on this pool instead of the function's own.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::{Pool, parallel};
    ///
    /// static FEW: Pool = Pool::cpu("few").threads(2);
    ///
    /// #[parallel(kind = "cpu")]
    /// fn worker(_: u32) -> String {
    ///     std::thread::current().name().unwrap_or("?").into()
    /// }
    ///
    /// let names: Vec<String> = worker::map(0..9).on(&FEW).collect();
    /// assert!(names.iter().all(|name| name.starts_with("fanfold-few-")));
    /// ```
    ///
    /// # Panics
    ///
    /// As [`Pool::submit`]; and if the function is of `kind = "process"` and the pool is one of threads, or the other way
    /// round.
    pub fn on(self, pool: &Pool) -> Self {
        self.with_core(pool.core())
    }
}
