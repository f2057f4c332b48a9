//! The limit on the length of files, which counts for shared memory.

use std::io::{self, Error};

/// Checks `RLIMIT_FSIZE` for memory of this length. Growing a file beyond it raises SIGXFSZ, which ends the
/// process by default.
pub(crate) fn check_file_limit(len: usize) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // A sandbox may forbid `getrlimit`; then no limit is known.
    // SAFETY: `limit` is a valid place for the answer.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit) } == 0;
    if known && len as u64 > limit.rlim_cur { Err(Error::from_raw_os_error(libc::EFBIG)) } else { Ok(()) }
}
