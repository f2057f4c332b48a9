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
        if let Some(crew) = self.frames.get() {
            return crew;
        }
        let threads = Some(self.threads);
        let limits = Limits { memory: None, tasks: None };
        let spec = Spec { kind: Kind::Frame, name: self.name, threads, default: false, hooks: self.hooks, limits };
        let started = self.frames.get_or_try_init(|| Core::start(spec));
        let crew =
            started.unwrap_or_else(|error| panic!("cannot start threads for frames beside `{}`: {error}", self.name));
        // Not while others wait for the cell: its threads run the user's hooks as they end.
        if self.is_closed() {
            crew.finish(false);
        }
        crew
    }
}
