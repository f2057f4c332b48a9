//! How many cores the process may use, and which one a thread runs on.
//!
//! The kernel likes to put a woken thread on the core of the thread that woke it, and with
//! both at work there they take turns, while another core is idle, until it notices some milliseconds later. Miri has no
//! cores to ask for.

use std::sync::OnceLock;

use super::try_once::get_or_make;

/// Cores this process may use; respects affinity and cgroup limits.
pub(crate) fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *get_or_make(&CORES, || std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
}

/// The core that this thread runs on, if the system says.
#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) fn core() -> Option<usize> {
    // SAFETY: it only looks.
    usize::try_from(unsafe { libc::sched_getcpu() }).ok()
}

/// Moves this thread to another core than `core`, if it may run on one. Takes some ten microseconds.
#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) fn leave(core: usize) {
    const SIZE: usize = size_of::<libc::cpu_set_t>();
    // SAFETY: a set of cores is plain bits, and none of them set is one.
    let mut allowed: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: writes the set of this thread, of the size that is given.
    let known = unsafe { libc::sched_getaffinity(0, SIZE, &raw mut allowed) } == 0;
    // SAFETY: only counts.
    if !known || core >= 8 * SIZE || unsafe { libc::CPU_COUNT(&allowed) } < 2 {
        return;
    }
    let mut others = allowed;
    // SAFETY: the core's bit is within the set.
    unsafe { libc::CPU_CLR(core, &mut others) };
    // SAFETY: both sets are whole; the second call gives back what the first has taken, without moving the thread.
    unsafe {
        libc::sched_setaffinity(0, SIZE, &raw const others);
        libc::sched_setaffinity(0, SIZE, &raw const allowed);
    }
}

#[cfg(any(not(target_os = "linux"), miri))]
pub(crate) fn core() -> Option<usize> {
    None
}

#[cfg(any(not(target_os = "linux"), miri))]
pub(crate) fn leave(_: usize) {}

#[cfg(all(test, target_os = "linux", not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_leaves_a_core_and_may_come_back() {
        let allowed = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let before = core().expect("Linux says");
        leave(before);
        if allowed > 1 {
            // It may be moved back at any time, but not for good: what is allowed is as before.
            assert_eq!(std::thread::available_parallelism().map_or(1, std::num::NonZero::get), allowed);
        }
        leave(usize::MAX);
    }
}
