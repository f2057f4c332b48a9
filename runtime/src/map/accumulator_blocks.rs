//! The blocks of a fold whose results are accumulators that cost something to merge, such as maps.

/// The number of blocks where the number of items is known. Each is an accumulator that must be merged: with 32 blocks
/// a count of 1,000 keys takes 8 % longer than a loop's work, with 64 blocks 16 %. And no more workers than blocks are
/// of use.
const BLOCKS: usize = 32;
/// The longest block of an iterator. Its first blocks are single items, and later ones are 1/8 to 1/16 of the items
/// before them.
const MAX_PULLED_BLOCK: usize = 1 << 16;
/// Eight of the longest blocks.
pub(super) const MAX_READ_AHEAD: usize = 8 * MAX_PULLED_BLOCK;

/// The length of the block that begins at item `start`, which is the first item of a block; `of` is the number of
/// items, if it is known. Otherwise it is a power of two, so that blocks end where windows do.
#[inline]
pub(super) fn block_len(start: usize, of: Option<usize>) -> usize {
    match of {
        Some(items) => {
            let blocks = items.clamp(1, BLOCKS);
            let (each, longer) = (items / blocks, items % blocks);
            each + usize::from(start < longer * (each + 1))
        }
        None => ((1 << start.max(1).ilog2()) / 8).clamp(1, MAX_PULLED_BLOCK),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_block_straddles_two_windows() {
        // Windows of iterators begin at powers of two, and at multiples of the last window.
        let mut start = 0;
        while start < 4 * MAX_READ_AHEAD {
            let end = start + block_len(start, None);
            assert!(start == 0 || start.ilog2() == (end - 1).ilog2(), "{start}..{end} straddles a power of two");
            assert!(start / MAX_READ_AHEAD == (end - 1) / MAX_READ_AHEAD, "{start}..{end} straddles a window");
            start = end;
        }
    }
}
