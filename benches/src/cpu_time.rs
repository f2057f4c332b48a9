//! Processor time, where wall time is not what counts.

use std::time::Duration;

/// The processor time that this process has used, all threads together.
///
/// # Panics
///
/// Where the operating system does not say.
#[must_use]
pub fn cpu_time() -> Duration {
    read(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// The processor time that all threads but this one have used.
///
/// # Panics
///
/// Where the operating system does not say.
#[must_use]
pub fn others_cpu_time() -> Duration {
    cpu_time().saturating_sub(read(libc::CLOCK_THREAD_CPUTIME_ID))
}

fn read(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes the time, and nothing else.
    let status = unsafe { libc::clock_gettime(clock, &raw mut time) };
    assert_eq!(status, 0, "the operating system keeps no processor time");
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanoseconds.unwrap_or_default())
}
