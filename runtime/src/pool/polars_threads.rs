//! Switching off Polars' own parallelism on a thread. This is the one file that uses internals of Polars: the flag
//! [`ALLOW_RAYON_THREADS`] is not part of its public interface and may move between minor versions, so the manifest
//! pins all Polars crates to one minor version.
//!
//! With the flag set, N chunks on N threads each use Polars' own N threads. Without it, a sort inside of a chunk takes
//! about 0.4 times the CPU time: nothing is handed to threads that are busy with other chunks anyway.

use std::marker::PhantomData;

use polars_async::executor::{ALLOW_RAYON_THREADS, block_in_place};

/// Restores the flag when dropped.
pub(crate) struct SerialPolars {
    before: bool,
    /// Not `Send`: the flag is a thread-local.
    _not_send: PhantomData<*const ()>,
}

/// Has Polars use only this thread until the guard is dropped.
///
/// Only for threads of frame pools. On a thread of a rayon pool Polars would panic, as a thread belongs to one rayon
/// pool at most. And a plain thread becomes, at its first Polars call with the flag off and for good, the one thread of
/// a rayon pool of its own: a user's `par_iter` on it would run serially from then on.
pub(crate) fn serial_polars() -> SerialPolars {
    let before = ALLOW_RAYON_THREADS.replace(false);
    SerialPolars { before, _not_send: PhantomData }
}

impl Drop for SerialPolars {
    fn drop(&mut self) {
        ALLOW_RAYON_THREADS.set(self.before);
    }
}

/// Whether Polars already uses only this thread: it belongs to Polars' streaming engine, or runs a chunk.
pub(crate) fn is_serial_polars() -> bool {
    !ALLOW_RAYON_THREADS.get()
}

/// Waits. If this thread belongs to Polars' streaming engine, another thread takes its place meanwhile.
pub(crate) fn polars_block_in_place<T>(wait: impl FnOnce() -> T) -> T {
    block_in_place(wait)
}

/// Lets Polars use its own threads inside of a chunk while `work` runs.
///
/// This is worth it where few chunks are left and one of them has a large sort or join to do.
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
    let _restore = SerialPolars { before, _not_send: PhantomData };
    work()
}
