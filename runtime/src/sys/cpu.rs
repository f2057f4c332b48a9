//! The number of cores that the process may use, the core that a thread runs on, and moving a thread off it.
//!
//! Linux tends to place a woken thread on the core of the thread that woke it. If both have work they share that core,
//! while another one idles, until the load balancer notices after some milliseconds. Other systems are left to place
//! threads themselves: there, and under Miri, no thread knows its core.

use std::sync::OnceLock;

use super::try_once::get_or_init_unlocked;

/// The number of cores that this process may use, within its affinity and cgroup limits.
pub(crate) fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *get_or_init_unlocked(&CORES, || std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
}

/// The core that this thread runs on, if the system tells.
#[cfg(all(target_os = "linux", not(any(miri, fanfold_portable))))]
pub(crate) fn current_core() -> Option<usize> {
    // SAFETY: `sched_getcpu` takes no arguments and changes no state.
    usize::try_from(unsafe { libc::sched_getcpu() }).ok()
}

/// Moves this thread off `core`, if it may run on another one. Takes some 10 us.
#[cfg(all(target_os = "linux", not(any(miri, fanfold_portable))))]
pub(crate) fn leave_core(core: usize) {
    const SIZE: usize = size_of::<libc::cpu_set_t>();
    // SAFETY: `cpu_set_t` is an array of integers, for which all zeros is a valid value: the empty set.
    let mut allowed: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `allowed` is writable and of the size that is passed.
    let known = unsafe { libc::sched_getaffinity(0, SIZE, &raw mut allowed) } == 0;
    // SAFETY: `allowed` is an initialized set, which `CPU_COUNT` reads.
    if !known || core >= 8 * SIZE || unsafe { libc::CPU_COUNT(&allowed) } < 2 {
        return;
    }
    let mut others = allowed;
    // SAFETY: `core` is below the number of bits of the set, as checked above.
    unsafe { libc::CPU_CLR(core, &mut others) };
    // SAFETY: both sets are initialized and of the size that is passed. The second call restores the thread's affinity,
    // and does not move it.
    unsafe {
        libc::sched_setaffinity(0, SIZE, &raw const others);
        libc::sched_setaffinity(0, SIZE, &raw const allowed);
    }
}

#[cfg(any(not(target_os = "linux"), miri, fanfold_portable))]
pub(crate) fn current_core() -> Option<usize> {
    None
}

#[cfg(any(not(target_os = "linux"), miri, fanfold_portable))]
pub(crate) fn leave_core(_: usize) {}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn leave_core_restores_the_affinity() {
        let allowed = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let before = allowed();
        let core = current_core();
        assert_eq!(core.is_some(), cfg!(all(target_os = "linux", not(fanfold_portable))));
        leave_core(core.unwrap_or(0));
        // The kernel may move the thread back at any time, so the affinity is checked, not the core.
        assert_eq!(allowed(), before);
        leave_core(usize::MAX);
        assert_eq!(allowed(), before);
    }
}
