//! The plain threads beside a pool that run its DataFrame chunks.

use std::sync::Arc;

use super::{Core, Kind, Limits, Spec};

impl Core {
    /// The crew that runs DataFrame chunks for this pool: as many plain threads as it has, with its name and hooks.
    ///
    /// # Panics
    ///
    /// If the first of them cannot be started.
    pub(crate) fn frames(self: &Arc<Self>) -> &Arc<Self> {
        if self.is_frames() {
            return self;
        }
        self.frames.get_or_init(|| {
            let threads = Some(self.threads);
            let limits = Limits { memory: None, tasks: None };
            let spec = Spec { kind: Kind::Frame, name: self.name, threads, default: false, hooks: self.hooks, limits };
            let crew = Core::start(spec)
                .unwrap_or_else(|error| panic!("cannot start threads for frames beside `{}`: {error}", self.name));
            if self.queue.lock().closed {
                crew.finish(false);
            }
            crew
        })
    }
}
