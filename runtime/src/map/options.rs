//! The options of a [`Map`]: chunk size, order, buffer, progress bar.

use std::sync::Arc;

use super::progress::WithProgress;
use super::{Grain, Map, MapFn, Source};

impl<S, F, A> Map<S, F, A>
where
    S: Source<Item = A>,
    F: MapFn<A>,
{
    /// Makes a worker take `items` items at a time, instead of finding the number at run time.
    ///
    /// It takes fewer where there are fewer. An iterator other than a range `a..b` of integers is limited to the items
    /// read ahead. A map that is iterated with a [`buffer`](Self::buffer) is limited to the buffer divided by twice the
    /// number of workers, so that each worker has some. `reduce`, `sum` and `fold` have blocks of their own.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::Pool;
    ///
    /// let squares: Vec<u64> = Pool::cpu_default().map(0..10_u64, |n| n * n).chunk_size(4).collect();
    /// assert_eq!(squares[9], 81);
    /// ```
    ///
    /// # Panics
    ///
    /// If `items` is 0.
    #[doc(alias = "with_min_len")]
    #[doc(alias = "with_max_len")]
    pub fn chunk_size(mut self, items: usize) -> Self {
        assert!(items > 0, "a chunk of 0 items would never end: give `chunk_size` at least 1");
        self.grain = Grain::Size(items);
        self
    }

    /// Cuts the items into `chunks` balanced chunks.
    ///
    /// The length of an iterator other than a range `a..b` of integers is not known, so each part that is read ahead is
    /// cut into `chunks` chunks. This changes nothing when the map is iterated, nor for `reduce`, `sum` and `fold`.
    ///
    /// # Panics
    ///
    /// If `chunks` is 0.
    pub fn chunks(mut self, chunks: usize) -> Self {
        assert!(chunks > 0, "nothing can be cut into 0 chunks: give `chunks` at least 1");
        self.grain = Grain::Blocks(chunks);
        self
    }

    /// When the map is iterated, gives results in the order of completion. `collect` keeps input order.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::Pool;
    ///
    /// let mut lengths: Vec<usize> = Pool::io_default().map(["a", "bcd"], str::len).unordered().into_iter().collect();
    /// lengths.sort_unstable(); // in any order
    /// assert_eq!(lengths, [1, 3]);
    /// ```
    #[doc(alias = "imap_unordered")]
    pub fn unordered(mut self) -> Self {
        self.unordered = true;
        self
    }

    /// When the map is iterated, limits the items in flight to `items`: those that were pulled from the source and
    /// whose results were not yet taken. By default as many are in flight as keep the workers busy.
    ///
    /// # Panics
    ///
    /// If `items` is 0.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::Pool;
    ///
    /// // An infinite source, never pulled further than 8 items ahead.
    /// let squares = Pool::cpu_default().map(0_u64.., |n| n * n).buffer(8);
    /// assert_eq!(squares.into_iter().take(4).collect::<Vec<_>>(), [0, 1, 4, 9]);
    /// ```
    pub fn buffer(mut self, items: usize) -> Self {
        assert!(items > 0, "with 0 items in flight nothing would ever run: give `buffer` at least 1");
        self.buffer = Some(items);
        self
    }

    /// Shows a progress bar with this label, if stderr is a terminal and the feature `progress` is on.
    ///
    /// Bars of several maps are below each other. The bar of a map inside a map vanishes when it is done. A map that
    /// fails, or that is left early, leaves its bar at the position that was reached, with the word `stopped` unless it
    /// panics.
    pub fn progress(mut self, label: &'static str) -> Self {
        self.label = Some(label);
        self
    }

    /// Calls `report` with the number of items done, and with that of all items if it is known. It needs no feature.
    ///
    /// It is called by the threads that run items, one at a time and with growing numbers: at most once for each block
    /// of items that a worker takes, and with the number of all items at the end of a map that succeeds. While a thread
    /// is in it, the others go on with their items.
    ///
    /// # Panics
    ///
    /// The map panics with the payload of `report`, as if its own function had panicked.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    /// use fanfold::Pool;
    ///
    /// let percent = AtomicUsize::new(0);
    /// let report = |done, total: Option<usize>| {
    ///     percent.store(100 * done / total.unwrap_or(done).max(1), Ordering::Relaxed);
    /// };
    /// let squares: Vec<u64> = Pool::cpu_default().map(0..1_000_u64, |n| n * n).on_progress(report).collect();
    /// assert_eq!(squares.len(), 1_000);
    /// assert_eq!(percent.into_inner(), 100);
    /// ```
    #[doc(alias = "progress_callback")]
    #[doc(alias = "inspect")]
    pub fn on_progress<'c>(
        self,
        report: impl Fn(usize, Option<usize>) + Send + Sync + 'c,
    ) -> Map<S, WithProgress<'c, F>, A> {
        self.with_function(|function| WithProgress { function, report: Arc::new(report) })
    }
}
