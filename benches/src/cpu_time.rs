//! Processor time of the process and of its threads.

use std::time::Duration;

/// The processor time that all threads of this process have used.
///
/// # Panics
///
/// If the operating system does not report it.
#[must_use]
pub fn cpu_time() -> Duration {
    read(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// The processor time that all threads except the calling one have used.
///
/// # Panics
///
/// If the operating system does not report it.
#[must_use]
pub fn others_cpu_time() -> Duration {
    cpu_time().saturating_sub(read(libc::CLOCK_THREAD_CPUTIME_ID))
}

fn read(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for the write.
    let status = unsafe { libc::clock_gettime(clock, &raw mut time) };
    assert_eq!(status, 0, "the operating system does not report processor time");
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanoseconds.unwrap_or_default())
}
