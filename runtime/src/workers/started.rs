//! The pools of this process.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::Core;

static STARTED: Mutex<Vec<Weak<Core>>> = Mutex::new(Vec::new());

/// One more pool has started.
pub(super) fn add(core: &Arc<Core>) {
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    started.retain(|core| core.strong_count() > 0);
    started.push(Arc::downgrade(core));
}

/// Every pool that has started and not ended.
pub(crate) fn all() -> Vec<Arc<Core>> {
    let started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    started.iter().filter_map(Weak::upgrade).collect()
}
