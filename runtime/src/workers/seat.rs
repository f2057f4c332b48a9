//! Which pool the current thread works for.

use std::cell::Cell;

/// A thread's place in the house.
#[derive(Clone, Copy)]
pub(crate) struct Seat {
    /// The pool whose worker this thread is; 0 is none.
    pub(crate) core: u64,
    /// The thread does the default cpu pool's work: as a DataFrame worker, or as a caller that works along.
    /// A nested call then runs in place instead of asking for one more thread.
    pub(crate) cpu_work: bool,
}

thread_local! {
    static SEAT: Cell<Seat> = const { Cell::new(Seat { core: 0, cpu_work: false }) };
}

/// The current thread's seat.
pub(crate) fn seated_at() -> Seat {
    SEAT.get()
}

/// Makes the current thread a worker, for good.
pub(super) fn take(core: u64, cpu_work: bool) {
    SEAT.set(Seat { core, cpu_work });
}

/// Lets the current thread do the default cpu pool's work until the guard is dropped.
pub(crate) fn cpu_seat() -> CpuSeat {
    let before = SEAT.get();
    SEAT.set(Seat { cpu_work: true, ..before });
    CpuSeat { before }
}

/// Gives the seat before back when dropped.
pub(crate) struct CpuSeat {
    before: Seat,
}

impl Drop for CpuSeat {
    fn drop(&mut self) {
        SEAT.set(self.before);
    }
}
