//! [`Pool::install`]: runs a closure that may borrow on a worker, and waits for its result.

use std::any::type_name;

use super::runtime_warning::warn_if_waiting;
use super::scoped::{self, Abandoned};
use super::work_span::{Work, observed};
use super::{Pool, config};

impl Pool {
    /// Runs a closure on a worker of this pool, and returns its result. It may borrow; this thread waits.
    ///
    /// On a cpu pool, what the closure does with [`join`](crate::join) and with rayon runs on this pool's threads. On a
    /// worker of this pool the closure runs at once.
    ///
    /// # Panics
    ///
    /// With the closure's own payload; if the pool is closed; and as [`submit`](Self::submit).
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::Pool;
    ///
    /// let pool = Pool::cpu("few").threads(2).build()?;
    /// let mut numbers = vec![3, 1, 2];
    /// pool.install(|| numbers.sort()); // waits, so the closure may borrow
    /// assert_eq!(numbers, [1, 2, 3]);
    /// # Ok::<(), fanfold::BuildError>(())
    /// ```
    #[track_caller]
    pub fn install<T, F>(&self, work: F) -> T
    where
        T: Send,
        F: FnOnce() -> T + Send,
    {
        let core = self.core().with_threads("closures");
        if core.is_current() || config::serial() {
            return work();
        }
        warn_if_waiting("install", "await a task of `submit(..)`, or call it in `spawn_blocking`");
        match scoped::run_on(core, true, || observed(Work::call(type_name::<F>(), core), None, work)) {
            Ok(result) => result,
            Err(Abandoned) => panic!(
                "`{}` cannot run: its pool was closed: call it before the {core:?} is shut down, or on another pool",
                type_name::<F>()
            ),
        }
    }
}
