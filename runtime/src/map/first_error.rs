//! The failure of a map: of all refused results, the one that is first in input order.

use std::sync::{Mutex, PoisonError};

use crate::sys::mutex;

/// The reason of the refused result with the lowest index.
pub(super) struct FirstRefused<E>(Mutex<Option<(usize, E)>>);

impl<E> FirstRefused<E> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Records that the result of this index was refused.
    pub(super) fn refuse(&self, index: usize, reason: E) {
        let mut first = mutex::lock(&self.0);
        let unused = if first.as_ref().is_none_or(|(earlier, _)| index < *earlier) {
            first.replace((index, reason))
        } else {
            Some((index, reason))
        };
        // Dropping a reason runs user code, so the lock is released first.
        drop(first);
        drop(unused);
    }

    pub(super) fn into_reason(self) -> Option<E> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner).map(|(_, reason)| reason)
    }
}
