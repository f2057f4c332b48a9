//! How long a worker that has done its job looks for another one before it sleeps.
//!
//! Somebody who waits for each task before it submits the next one comes back when it has been woken, which takes
//! microseconds on some machines and 30 on others. A worker that has gone to sleep by then must be woken too, and so on,
//! round after round. So a worker that slept only for a moment looks for longer the next time: about as long as it takes
//! to wake one. (The rule is that of renting skis: look as long as sleeping would cost, as in Karlin et al., "Competitive
//! randomized algorithms for nonuniform problems", 1990.)
//!
//! A worker on the core of the one who called it does not look at all: whoever calls next may need that core. If that goes
//! on though nobody else waits, the two take turns there while another core may be idle: the worker moves then.

use std::time::Duration;

use super::queue::Queue;
use crate::pool::queue::state::Ring;
use crate::sys::clock::Moment;
use crate::sys::{cpu, park};

/// Who sleeps for less is called again and again.
const MOMENT_NS: u64 = 150_000;
/// The longest look.
const LONGEST: Duration = Duration::from_micros(60);

/// After so many short sleeps in a row, each ended from its own core, a worker moves to another one.
const TOGETHER: u32 = 8;
/// The same if moving has not helped before.
const OFTEN_TOGETHER: u32 = 1024;

/// What moving takes at most, and serving the first job there. Whoever waits for that job looks for so long: if it slept,
/// it would be woken on the very core that the worker has moved to.
const MOVING: Duration = Duration::from_micros(100);

/// What one worker has learnt from its last sleeps.
pub(super) struct Patience {
    look: Duration,
    /// When it last looked.
    looked: Moment,
    /// Short sleeps in a row that were ended from its core.
    together: u32,
    /// How many of them make it move.
    enough: u32,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self { look: park::SPIN, looked: Moment::from_ticks(0), together: 0, enough: TOGETHER }
    }

    /// Whether it should look at all. A worker whose job took long has kept nobody waiting who would be back at once.
    #[inline]
    pub(super) fn is_to_look(&mut self, ring: Ring) -> bool {
        let now = Moment::now();
        let before = std::mem::replace(&mut self.looked, now);
        park::count_other_waits();
        now.since(before) <= park::COLD_NS
            && (!shares_core(ring) || (self.together >= self.enough && !park::is_oversubscribed()))
    }

    /// Looks whether there is a job.
    pub(super) fn look(&mut self, queue: &Queue, ring: Ring) {
        if let Some(shared) = ring.from
            && shares_core(ring)
        {
            queue.expect_from_afar(MOVING);
            cpu::leave_core(shared);
            self.together = 0;
            self.enough = (2 * self.enough).min(OFTEN_TOGETHER);
        }
        park::spin_up_to(self.look, || queue.looks_busy());
    }

    /// It has slept since then, and was called.
    #[inline]
    pub(super) fn slept(&mut self, since: Moment, ring: Ring) {
        let is_short = ring.at.since(since) < MOMENT_NS;
        let came_after = Duration::from_nanos(Moment::now().since(ring.at));
        self.look = if is_short { (2 * came_after).clamp(park::SPIN, LONGEST) } else { park::SPIN };
        if is_short && shares_core(ring) {
            self.together += 1;
        } else {
            (self.together, self.enough) = (0, TOGETHER);
        }
    }
}

/// Whether this thread is on the core of the one that called it.
fn shares_core(ring: Ring) -> bool {
    ring.from.is_some() && ring.from == cpu::current_core()
}
