//! [`Map::collect_async`]: a map as a task, for async code.

use std::sync::Arc;

use super::function::MapFn;
use super::{Collect, Map, Source};
use crate::pool::{Core, Kind, Pool};
use crate::task::Task;
use crate::task::send_proof::CallProof;
use crate::task::slot::{Slot, TaskOptions};

impl<S, F, A> Map<S, F, A>
where
    S: Source<Item = A> + Send + 'static,
    F: MapFn<A> + Send + 'static,
    A: 'static,
{
    /// Starts the map as a task, and returns it to `.await` or to [`join`](Task::join): [`collect`](Self::collect)
    /// that never blocks the calling thread. Items and the function must own what they use.
    ///
    /// The task is the map's caller, on a worker of the map's pool; for a map in worker processes, on one of the default
    /// io pool. Cancelled while it is queued, the map does not run. [Cancelled](Task::cancel) while it runs, it starts no
    /// further item, and items that run see [`cancelled()`](crate::cancelled), or have their worker process killed. So
    /// [`cancel_on_drop`](Task::cancel_on_drop) makes the map end with its handle.
    ///
    /// # Errors
    ///
    /// The task ends with [`TaskError::Panicked`](crate::TaskError::Panicked) where `collect` panics, also if the pool is
    /// closed meanwhile; with [`TaskError::PoolClosed`](crate::TaskError::PoolClosed) if the pool was closed before the
    /// map began; and with [`TaskError::Cancelled`](crate::TaskError::Cancelled) if it was cancelled before all items had
    /// started.
    ///
    /// # Panics
    ///
    /// If the default io pool is needed and cannot be started.
    ///
    /// # Examples
    ///
    /// ```
    /// # pollster::block_on(async {
    /// let squares: Vec<u64> = fanfold::map(vec![1, 2, 3], |n: u64| n * n).collect_async().await?;
    /// assert_eq!(squares, [1, 4, 9]);
    /// # Ok::<(), fanfold::TaskError>(())
    /// # }).unwrap();
    /// ```
    #[track_caller]
    pub fn collect_async<C>(self) -> Task<C>
    where
        C: Collect<F::Out> + Send + 'static,
    {
        let (core, name) = (self.core.clone(), self.name);
        start_map(&core, name, move || self.collect())
    }
}

/// Starts the task that ends a map: on the map's pool, or on the default io pool for a map in worker processes.
#[track_caller]
pub(super) fn start_map<C: Send + 'static>(
    core: &Arc<Core>,
    name: &'static str,
    work: impl FnOnce() -> C + Send + 'static,
) -> Task<C> {
    let core = if core.kind() == Kind::Process { Pool::io_default().core() } else { core };
    let slot = Slot::new(Arc::clone(core), name, TaskOptions::default(), work, CallProof::from_bounds());
    Task::start(core, slot)
}
