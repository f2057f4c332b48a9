//! [`Poller`]: a set of channel ends that are waited for together.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex};

use super::Handle;
use super::end::WatchId;
use crate::sys::mutex;

#[derive(Default)]
pub(crate) struct Poller {
    ready: Arc<Ready>,
    /// The watches by the keys of their ends.
    watches: Mutex<HashMap<u64, WatchId>>,
}

#[derive(Default)]
struct Ready {
    keys: Mutex<Vec<u64>>,
    changed: Condvar,
}

impl Poller {
    #[allow(clippy::unnecessary_wraps, reason = "as on Linux, where the system may refuse one")]
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self::default())
    }

    /// Adds an end, to be reported with `key` when it has a message, or space for one, or is closed.
    pub(crate) fn add(&self, end: &Handle, _: bool, key: u64) -> io::Result<()> {
        let Handle::End(end) = end else { return Err(io::ErrorKind::InvalidInput.into()) };
        let ready = Arc::clone(&self.ready);
        let watch = end.watch(Box::new(move || {
            mutex::lock(&ready.keys).push(key);
            ready.changed.notify_one();
        }))?;
        mutex::lock(&self.watches).insert(key, watch);
        Ok(())
    }

    pub(crate) fn remove(&self, end: &Handle, key: u64) {
        let watch = mutex::lock(&self.watches).remove(&key);
        if let (Handle::End(end), Some(watch)) = (end, watch) {
            end.unwatch(&watch);
        }
    }

    /// Waits until ends are ready; returns the keys of some of them.
    #[allow(clippy::unnecessary_wraps, reason = "as on Linux")]
    pub(crate) fn wait(&self) -> io::Result<Vec<u64>> {
        let mut keys = mutex::lock(&self.ready.keys);
        while keys.is_empty() {
            keys = mutex::wait(&self.ready.changed, keys);
        }
        Ok(std::mem::take(&mut *keys))
    }
}
