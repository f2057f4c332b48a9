//! How long a worker that has done its job looks for another one before it sleeps.
//!
//! Somebody who waits for each task before it submits the next one comes back when it has been woken, which takes
//! microseconds on some machines and 30 on others. A worker that has gone to sleep by then must be woken too, and so on,
//! round after round. So a worker that slept only for a moment looks for longer the next time: about as long as it takes
//! to wake one. (The rule is that of renting skis: look as long as sleeping would cost, as in Karlin et al., "Competitive
//! randomized algorithms for nonuniform problems", 1990.)
//!
//! A worker on the core of the one who called it does not look at all: whoever calls next may need that core.

use std::time::Duration;

use super::queue::{Queue, Ring};
use crate::clock::Moment;
use crate::{park, place};

/// Who sleeps for less is called again and again.
const MOMENT_NS: u64 = 150_000;
/// The longest look.
const LONGEST: Duration = Duration::from_micros(60);

/// What one worker has learnt from its last sleep.
pub(super) struct Patience {
    look: Duration,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self { look: park::LOOK }
    }

    /// Looks whether there is a job.
    pub(super) fn look(&self, queue: &Queue, ring: Ring) {
        if ring.from.is_none() || ring.from != place::core() {
            park::look_up_to(self.look, || queue.looks_busy());
        }
    }

    /// It has slept since then, and was called.
    pub(super) fn slept(&mut self, since: Moment, ring: Ring) {
        let asleep = ring.at.since(since);
        let came_after = Duration::from_nanos(Moment::now().since(ring.at));
        self.look = if asleep < MOMENT_NS { (2 * came_after).clamp(park::LOOK, LONGEST) } else { park::LOOK };
    }
}
