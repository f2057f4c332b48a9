//! The pools of this process.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::Core;

static STARTED: Mutex<Started> = Mutex::new(Started { pools: Vec::new(), crowded: LEAST });

/// Fewer pools are no crowd.
const LEAST: usize = 16;

struct Started {
    pools: Vec<Weak<Core>>,
    /// With so many pools those that have ended are taken off the list. Half of them at least are new each time.
    crowded: usize,
}

/// One more pool has started.
pub(super) fn add(core: &Arc<Core>) {
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    if started.pools.len() >= started.crowded {
        started.pools.retain(|core| core.strong_count() > 0);
        started.crowded = (2 * started.pools.len()).max(LEAST);
    }
    started.pools.push(Arc::downgrade(core));
}

/// Every pool that has started and not ended.
pub(crate) fn all() -> Vec<Arc<Core>> {
    let started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    started.pools.iter().filter_map(Weak::upgrade).collect()
}
