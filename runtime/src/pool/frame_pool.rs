//! The frame pool of a pool: plain threads beside it that run its DataFrame chunks.

use std::sync::Arc;

use super::{Core, Kind, Limits, ProcessHooks, Spec};

impl Core {
    /// The pool that runs DataFrame chunks for this pool: as many plain threads, with the same name, stack and
    /// hooks.
    ///
    /// # Panics
    ///
    /// If its first thread cannot be started.
    pub(crate) fn frames(self: &Arc<Self>) -> &Arc<Self> {
        if self.is_frames() {
            return self;
        }
        if let Some(frame_pool) = self.frame_pool.get() {
            return frame_pool;
        }
        let spec = Spec {
            kind: Kind::Frame,
            name: self.name,
            threads: Some(self.threads()),
            default: false,
            hooks: self.hooks.to_hooks(),
            limits: Limits { memory: None, tasks: None },
            process_hooks: ProcessHooks::default(),
            idle_timeout: self.idle_timeout,
            stack: if self.kind == Kind::Process { None } else { self.stack },
            // Its tasks are chunks, whose callers wait for them.
            queue_limit: None,
        };
        let started = self.frame_pool.get_or_try_init(|| Core::start(&spec));
        let frame_pool =
            started.unwrap_or_else(|error| panic!("cannot start threads for frames beside `{}`: {error}", self.name));
        // Outside of `get_or_try_init`: the threads run the user's hooks as they end, and other threads may wait for
        // the cell.
        if self.is_closed() {
            frame_pool.close_and_join(false);
        }
        frame_pool
    }
}
