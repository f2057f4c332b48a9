//! Other threads' memory, put aside while a share of a map runs.

use std::array;
use std::hint::black_box;

/// Sizes of blocks in bytes: one in each of glibc's smallest classes, with which strings and vectors begin.
const SIZES: [usize; 4] = [24, 40, 56, 72];
/// Blocks of a class that a thread's cache may hold.
const CACHED: usize = 16;

/// Small blocks, held and not used.
///
/// glibc's allocator gives each thread a cache of small blocks: those that it freed last, whichever thread's arena they
/// come from. A string that begins in such a block grows within that arena, under its lock, and leaves its first block in
/// the cache, for the next string to begin with. So one block that came with a job, or with results that the caller
/// dropped, has two threads wait for one another at each allocation for good: twice the time of a loop. Holding what the
/// caches have has the function's own blocks come from the arena of the thread that it runs on.
pub(crate) struct Aside {
    _blocks: [Vec<u8>; SIZES.len() * CACHED],
}

impl Aside {
    /// Takes the blocks; some microseconds.
    pub(crate) fn new() -> Self {
        Self { _blocks: array::from_fn(|block| black_box(Vec::with_capacity(SIZES[block / CACHED]))) }
    }
}
