//! Small allocations that a worker holds during a map, to keep blocks of other threads' arenas out of glibc's
//! per-thread cache.

use std::array;
use std::hint::black_box;

/// One size in bytes for each of glibc's four smallest classes: the ones in which strings and vectors begin.
const SIZES: [usize; 4] = [24, 40, 56, 72];
/// The number of blocks of one class that glibc's cache of a thread can hold.
const CACHED: usize = 16;

/// Small blocks that are allocated and not used.
///
/// glibc's allocator gives each thread a cache of the small blocks that the thread freed last, from any thread's arena.
/// A string that begins in a cached block grows within that block's arena, under that arena's lock, and leaves its
/// first block in the cache, where the next string begins. So one block that came with a job, or with results that the
/// caller dropped, makes two threads contend at every allocation from then on: twice the time of a loop. Holding the
/// contents of the cache makes the function's allocations come from the arena of the thread that runs it.
pub(crate) struct HeldAllocations {
    _blocks: [Vec<u8>; SIZES.len() * CACHED],
}

impl HeldAllocations {
    /// Allocates the blocks, which takes some microseconds.
    pub(crate) fn new() -> Self {
        Self { _blocks: array::from_fn(|block| black_box(Vec::with_capacity(SIZES[block / CACHED]))) }
    }
}
