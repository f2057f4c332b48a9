//! How long somebody who waits for a task of a pool looks for its end before they sleep.

use super::Core;
use crate::{config, park};

impl Core {
    /// Looks whether `done` holds, which a worker of this pool will make true; `false` when it is time to sleep.
    pub(crate) fn look(&self, done: impl Fn() -> bool) -> bool {
        if done() {
            return true;
        }
        if let Some(time) = self.queue.still_moves()
            && park::look_up_to(time, &done)
        {
            return true;
        }
        // Among many that wait for one of many, looking only keeps a worker from its core.
        let is_far_back = park::is_crowded() && self.queue.waiting() > config::cores();
        (!is_far_back && park::look(&done)) || park::give_way(done)
    }
}
