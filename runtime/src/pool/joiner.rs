//! How long somebody who waits for a task of a pool looks for its end before they sleep.

use super::Core;
use crate::sys::cpu;
use crate::sys::park;

impl Core {
    /// Looks whether `done` holds, which a worker of this pool will make true; `false` when it is time to sleep.
    #[inline]
    pub(crate) fn look(&self, done: impl Fn() -> bool) -> bool {
        // A thread that has not waited for long may be of a large crowd.
        done() || if park::begin_wait() { self.look_on(done) } else { park::yield_once(done) }
    }

    fn look_on(&self, done: impl Fn() -> bool) -> bool {
        if let Some(time) = self.queue.still_moves()
            && park::spin_up_to(time, &done)
        {
            return true;
        }
        // Among many that wait for one of many, looking only keeps a worker from its core.
        let is_far_back = park::is_oversubscribed() && self.queue.waiting() > cpu::cores();
        (!is_far_back && park::spin_up_to(park::SPIN, &done)) || park::yield_once(done)
    }
}
