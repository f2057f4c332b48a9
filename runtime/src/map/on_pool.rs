//! [`Pool::map`], which maps a closure over items; and [`Map::on`], which chooses another pool for a map.

use std::any::type_name;
use std::sync::Arc;

use super::{Closure, Map, MapFn, PoolItems, Source};
use crate::place::Place;
#[cfg(feature = "process")]
use crate::pool::config;
use crate::pool::{CoreRef, Pool};
#[cfg(feature = "process")]
use crate::process::backend::{BackendId, waiting_pool};
#[cfg(feature = "process")]
use crate::process::is_worker_process;
use crate::task::send_proof::CallProof;

impl Pool {
    /// Maps a closure over items on this pool. Lazy, as `name::map` of an annotated function is: see [`Map`], whose
    /// function is an internal type around the closure.
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
    #[doc(alias = "par_iter")]
    #[track_caller]
    pub fn map<S, A, M, R, F>(&self, items: S, function: F) -> Map<S::Source, Closure<F, A, R>, A>
    where
        S: PoolItems<A, M>,
        A: Send,
        R: Send,
        F: Fn(A) -> R + Sync,
    {
        let function = Closure::new(function, CallProof::from_bounds());
        let core = self.core().with_threads("closures");
        // The default pool is a static, whose core needs no reference count.
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
    /// Runs the map on this pool, or on another [`Place`], instead of the function's own pool.
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
    /// As [`Pool::submit`]; and if the function is of `kind = "process"` and the pool has threads, or the other way
    /// round.
    pub fn on<P: Place<Self> + ?Sized>(self, place: &P) -> P::Placed {
        place.place(self)
    }

    /// Runs the map on a backend, which must have been registered.
    ///
    /// # Panics
    ///
    /// If the function is not of `kind = "process"` or `kind = "cluster"`.
    #[cfg(feature = "process")]
    #[doc(hidden)]
    #[track_caller]
    pub fn on_backend(mut self, backend: BackendId) -> Self {
        if is_worker_process() || config::serial() {
            return self;
        }
        assert!(
            self.function.use_backend(backend),
            "`{}` cannot run on a cluster, where functions are found by name: annotate it with `kind = \"cluster\"` or \
             `kind = \"process\"`",
            self.name
        );
        self.with_core(waiting_pool().core())
    }
}

impl<S, F, A> Place<Map<S, F, A>> for Pool
where
    S: Source<Item = A>,
    F: MapFn<A>,
{
    type Placed = Map<S, F, A>;

    #[track_caller]
    fn place(&self, map: Map<S, F, A>) -> Map<S, F, A> {
        map.with_core(self.core())
    }
}
