//! The default number of chunks of a frame.

/// Chunks per worker, so that one slow chunk does not leave the other workers idle for long.
const CHUNKS_PER_WORKER: usize = 4;
/// Rows of a chunk at least: in shorter chunks the cost of a chunk matters.
const MIN_CHUNK_ROWS: usize = 1 << 10;
/// Bytes of a chunk at most, so that the results of the chunks being mapped fit in memory.
const MAX_CHUNK_BYTES: usize = 64 << 20;

/// The default number of chunks of a frame with `rows` rows. `bytes` estimates its size in memory.
pub(super) fn default_chunk_count(rows: usize, bytes: impl FnOnce() -> usize, workers: usize) -> usize {
    (workers * CHUNKS_PER_WORKER).max(bytes() / MAX_CHUNK_BYTES).min(rows / MIN_CHUNK_ROWS).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_number_of_chunks_follows_workers_rows_and_bytes() {
        assert_eq!(default_chunk_count(1_000_000, || 0, 2), 8);
        assert_eq!(default_chunk_count(3_000, || 0, 2), 2);
        assert_eq!(default_chunk_count(0, || 0, 2), 1);
        assert_eq!(default_chunk_count(1 << 30, || 64 << 30, 2), 1_024);
    }
}
