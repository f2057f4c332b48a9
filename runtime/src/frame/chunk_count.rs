//! How many chunks a frame is cut into, where nobody says.

/// Chunks a worker, rows a chunk at least, and bytes a chunk at most, where the user leaves the number to us.
const PER_WORKER: usize = 4;
const LEAST_ROWS: usize = 1 << 10;
const MOST_BYTES: usize = 64 << 20;

/// How many chunks: a few a worker, so that a slow one does not leave the others idle for long; fewer where chunks
/// would be so short that their cost shows; more where they would be so large that a result of each fills the memory.
pub(super) fn chunks(rows: usize, bytes: impl FnOnce() -> usize, workers: usize) -> usize {
    (workers * PER_WORKER).max(bytes() / MOST_BYTES).min(rows / LEAST_ROWS).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_number_of_chunks_follows_workers_rows_and_bytes() {
        assert_eq!(chunks(1_000_000, || 0, 2), 8);
        assert_eq!(chunks(3_000, || 0, 2), 2);
        assert_eq!(chunks(0, || 0, 2), 1);
        assert_eq!(chunks(1 << 30, || 64 << 30, 2), 1_024);
    }
}
