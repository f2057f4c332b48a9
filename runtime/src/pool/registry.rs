//! The registry of all running pools of this process. `shutdown` drains them, and the spawn retries ask whether any of
//! them runs a job.

use std::sync::{Arc, Mutex, MutexGuard, Weak};

use super::Core;
use crate::sys::mutex;
use crate::sys::reserve;

static REGISTRY: Mutex<Registry> = Mutex::new(Registry { pools: Vec::new(), prune_at: MIN_PRUNE });

/// Shorter lists are not pruned.
const MIN_PRUNE: usize = 16;

/// The running pools, and those that have ended since the list was last pruned.
pub(crate) struct Registry {
    pools: Vec<Weak<Core>>,
    /// The length at which pools that have ended are removed: twice what was left the last time, so that the cost per
    /// pool stays constant.
    prune_at: usize,
}

impl Registry {
    fn must_be_pruned(&self) -> bool {
        self.pools.len() >= self.prune_at
    }
}

pub(super) fn lock() -> MutexGuard<'static, Registry> {
    mutex::lock(&REGISTRY)
}

/// Adds a pool that has started.
pub(super) fn add(core: &Arc<Core>) {
    let mut ended = Vec::new();
    if lock().must_be_pruned() {
        let mut registry = reserve::lock_with_buffer(lock, |registry| registry.pools.len(), &mut ended);
        ended.extend(registry.pools.extract_if(.., |core| core.strong_count() == 0));
        registry.prune_at = (2 * registry.pools.len()).max(MIN_PRUNE);
    }
    reserve::lock_with_capacity(lock, |registry| &mut registry.pools, 1).pools.push(Arc::downgrade(core));
}

/// Removes a pool whose owner drops it. Its threads, or whoever looks at all pools now, may keep it for a moment longer.
pub(super) fn remove(core: &Arc<Core>) {
    let mut registry = lock();
    let place = registry.pools.iter().position(|other| std::ptr::eq(other.as_ptr(), Arc::as_ptr(core)));
    let removed = place.map(|place| registry.pools.remove(place));
    drop(registry);
    drop(removed);
}

/// Every pool that has started and not ended.
pub(super) fn all() -> Vec<Arc<Core>> {
    let mut pools = Vec::new();
    let registry = reserve::lock_with_buffer(lock, |registry| registry.pools.len(), &mut pools);
    pools.extend(registry.pools.iter().filter_map(Weak::upgrade));
    drop(registry);
    pools
}
