//! Which pool the current thread works for, and what follows from it when it has to wait.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use super::Core;
use crate::park;

thread_local! {
    /// The pool whose job this thread runs, if it is a worker.
    static CORE: RefCell<Option<Arc<Core>>> = const { RefCell::new(None) };
    /// Its number, to be looked up without a borrow; 0 is none.
    static ID: Cell<u64> = const { Cell::new(0) };
    /// Whether the thread does the default cpu pool's work: as a DataFrame worker, or as a caller that works along.
    /// A nested call then runs in place instead of asking for one more thread.
    static CPU_WORK: Cell<bool> = const { Cell::new(false) };
}

/// Makes the current thread a worker, for good.
pub(super) fn take(core: &Arc<Core>) {
    CORE.set(Some(Arc::clone(core)));
    ID.set(core.id);
    CPU_WORK.set(core.is_frames());
}

/// Whether the current thread is a worker of this very pool.
pub(super) fn is_worker_of(core: &Core) -> bool {
    ID.get() == core.id
}

/// Whether the current thread is a worker of any pool.
pub(crate) fn is_worker() -> bool {
    ID.get() != 0
}

/// Whether the current thread does the default cpu pool's work.
pub(super) fn does_cpu_work() -> bool {
    CPU_WORK.get()
}

/// Lets the current thread do the default cpu pool's work until the guard is dropped.
pub(crate) fn cpu_seat() -> CpuSeat {
    CpuSeat { before: CPU_WORK.replace(true) }
}

/// Gives the seat before back when dropped.
pub(crate) struct CpuSeat {
    before: bool,
}

impl Drop for CpuSeat {
    fn drop(&mut self) {
        CPU_WORK.set(self.before);
    }
}

/// Waits until `done` holds. A worker gives its permit back meanwhile.
///
/// Whoever makes it hold must then wake this thread's [`park::waker`].
pub(crate) fn wait_until(done: impl Fn() -> bool) {
    if park::look(&done) {
        return;
    }
    let _aside = Aside::step();
    park::wait_until(done);
}

/// As [`wait_until`], with a deadline; whether it holds in time.
pub(crate) fn wait_until_deadline(done: impl Fn() -> bool, deadline: std::time::Instant) -> bool {
    if park::look(&done) {
        return true;
    }
    let _aside = Aside::step();
    park::wait_until_deadline(done, deadline)
}

/// Waits in a way of the caller's. A worker gives its permit back meanwhile.
#[cfg(feature = "process")]
pub(crate) fn wait_by<T>(wait: impl FnOnce() -> T) -> T {
    let _aside = Aside::step();
    wait()
}

/// A worker that has given its permit back; it takes one again when dropped.
struct Aside(Option<Arc<Core>>);

impl Aside {
    fn step() -> Self {
        let core = CORE.with_borrow(Clone::clone);
        if let Some(core) = &core {
            core.rouse(core.queue.step_aside());
        }
        Self(core)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if let Some(core) = &self.0 {
            core.queue.step_back();
        }
    }
}

/// Runs `work` as a worker of `core`, on one of its permits, though the thread is another pool's worker; `None` if
/// no permit is free. That pool's own permit is given back meanwhile.
pub(crate) fn work_for<T>(core: &Arc<Core>, work: impl FnOnce() -> T) -> Option<T> {
    if is_worker_of(core) {
        return Some(work());
    }
    if !core.queue.lock().try_permit() {
        return None;
    }
    let lent = Lent {
        before: CORE.replace(Some(Arc::clone(core))),
        cpu_work: CPU_WORK.replace(core.is_frames()),
        core: Arc::clone(core),
    };
    ID.set(core.id);
    if let Some(own) = &lent.before {
        own.rouse(own.queue.step_aside());
    }
    let result = work();
    drop(lent);
    Some(result)
}

/// A worker lent to another pool; it goes back when dropped.
struct Lent {
    before: Option<Arc<Core>>,
    cpu_work: bool,
    core: Arc<Core>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut state = self.core.queue.lock();
        self.core.queue.release(&mut state);
        self.core.rouse(state);
        let before = self.before.take();
        ID.set(before.as_ref().map_or(0, |own| own.id));
        CPU_WORK.set(self.cpu_work);
        if let Some(own) = &before {
            own.queue.step_back();
        }
        CORE.set(before);
    }
}
