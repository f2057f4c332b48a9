//! How a map holds its pool.

use std::ops::Deref;
use std::sync::Arc;

use super::Core;

/// A pool's core, for as long as a map needs it. Functions name static pools, and those need not be counted: with maps
/// inside maps all threads would write to that one counter.
pub(crate) enum CoreRef {
    Static(&'static Arc<Core>),
    Owned(Arc<Core>),
}

impl Deref for CoreRef {
    type Target = Arc<Core>;

    #[inline]
    fn deref(&self) -> &Arc<Core> {
        match self {
            Self::Static(core) => core,
            Self::Owned(core) => core,
        }
    }
}

impl From<&'static Arc<Core>> for CoreRef {
    fn from(core: &'static Arc<Core>) -> Self {
        Self::Static(core)
    }
}

impl From<Arc<Core>> for CoreRef {
    fn from(core: Arc<Core>) -> Self {
        Self::Owned(core)
    }
}
