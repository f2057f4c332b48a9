//! Polars' inner parallelism, switched off on a thread. The one file that touches Polars' internals: the flag
//! is not part of its public interface and may move between minor versions, so all three crates are pinned to
//! the same one.
//!
//! Without it, N chunks on N threads each call Polars' own N threads. With it a sort inside a chunk takes about
//! 0.4 times the CPU, as nothing is handed to other threads that are busy with chunks anyway.

use std::marker::PhantomData;

use polars_async::executor::{ALLOW_RAYON_THREADS, block_in_place};

/// Gives the flag before back when dropped.
pub(crate) struct SerialPolars {
    before: bool,
    /// The flag is this thread's.
    _here: PhantomData<*const ()>,
}

/// Lets Polars use this thread alone until the guard is dropped.
///
/// Only for threads of the frame crew. On a rayon thread Polars would panic, as a thread serves one rayon pool at
/// most; and a plain thread becomes, at its first guarded Polars call and for good, the one thread of a rayon pool
/// of its own, so that a user's `par_iter` there would run serially ever after.
pub(crate) fn serial_polars() -> SerialPolars {
    let before = ALLOW_RAYON_THREADS.replace(false);
    SerialPolars { before, _here: PhantomData }
}

impl Drop for SerialPolars {
    fn drop(&mut self) {
        ALLOW_RAYON_THREADS.set(self.before);
    }
}

/// Whether Polars uses this thread alone already: it belongs to its streaming engine, or runs a chunk.
pub(crate) fn is_serial_polars() -> bool {
    !ALLOW_RAYON_THREADS.get()
}

/// Waits; if this thread belongs to Polars' streaming engine, another one takes its place meanwhile.
pub(crate) fn leaving_polars<T>(wait: impl FnOnce() -> T) -> T {
    block_in_place(wait)
}

/// Gives Polars its own threads back inside a chunk, for as long as `work` runs.
///
/// Worth it where few chunks are left and one of them has a large sort or join to do.
///
/// # Examples
///
/// ```
/// use fanfold::prelude::*;
/// use polars::prelude::*;
///
/// # fn main() -> PolarsResult<()> {
/// let df = df!("x" => [3, 1, 2, 0])?;
/// let sorted = df
///     .par_chunks(2)
///     .map(|chunk| with_polars_threads(|| chunk.sort(["x"], Default::default())))?;
/// assert_eq!(sorted, df!("x" => [1, 3, 0, 2])?);
/// # Ok(())
/// # }
/// ```
pub fn with_polars_threads<T>(work: impl FnOnce() -> T) -> T {
    let before = ALLOW_RAYON_THREADS.replace(true);
    let _restore = SerialPolars { before, _here: PhantomData };
    work()
}
