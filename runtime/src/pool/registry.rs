//! The pools of this process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::Core;
use crate::sys::reserve;

static STARTED: Mutex<Started> = Mutex::new(Started { pools: Vec::new(), crowded: LEAST });

/// Fewer pools are no crowd.
const LEAST: usize = 16;

pub(crate) struct Started {
    pools: Vec<Weak<Core>>,
    /// With so many pools those that have ended are taken off the list. Half of them at least are new each time.
    crowded: usize,
}

impl Started {
    fn is_crowded(&self) -> bool {
        self.pools.len() >= self.crowded
    }
}

pub(crate) fn lock() -> MutexGuard<'static, Started> {
    STARTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One more pool has started.
pub(super) fn add(core: &Arc<Core>) {
    let mut ended = Vec::new();
    if lock().is_crowded() {
        let mut started = reserve::lock_with_buffer(lock, |started| started.pools.len(), &mut ended);
        ended.extend(started.pools.extract_if(.., |core| core.strong_count() == 0));
        started.crowded = (2 * started.pools.len()).max(LEAST);
    }
    reserve::lock_with_capacity(lock, |started| &mut started.pools, 1).pools.push(Arc::downgrade(core));
}

/// Every pool that has started and not ended.
pub(crate) fn all() -> Vec<Arc<Core>> {
    let mut pools = Vec::new();
    let started = reserve::lock_with_buffer(lock, |started| started.pools.len(), &mut pools);
    pools.extend(started.pools.iter().filter_map(Weak::upgrade));
    drop(started);
    pools
}
