//! [`OnError`]: whether a chunk that fails ends the map, or is left out and listed; and [`ListingChunks`], a frame's map
//! that lists them.

use std::any::type_name_of_val;
use std::error::Error;

use polars::prelude::*;

use super::chunks::FrameChunks;
use super::error::{ChunkError, ChunkMismatch};
use super::plan::{ByRows, ChunkPlan, ChunkStrategy};
use super::rows::Rows;
use crate::chunks::gather::GatherError;

/// What a map does with a chunk that fails: its function returned an error or panicked, or its result has other columns
/// than the results before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// Ends the map with the error. This is the default.
    #[default]
    Stop,
    /// Leaves the chunk out, and lists its error beside the result of the others.
    Skip,
}

impl<'a, S, P> FrameChunks<'a, S, P> {
    /// Sets what happens with chunks that fail. The methods that map the chunks then return the errors of the chunks
    /// that were left out, in row order, beside the result of the others.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::OnError;
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let df = df!("text" => ["1", "2", "x", "4"])?;
    /// let parse = |chunk: DataFrame| chunk.lazy().select([col("text").strict_cast(DataType::Int64)]).collect();
    /// let (numbers, failed) = df.par_rows(1).on_error(OnError::Skip).map(parse)?;
    /// assert_eq!(numbers, df!("text" => [1_i64, 2, 4])?);
    /// assert_eq!(failed.iter().map(|error| error.rows()).collect::<Vec<_>>(), [2..3]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "skip")]
    #[doc(alias = "outcomes")]
    pub fn on_error(self, on_error: OnError) -> ListingChunks<'a, S, P> {
        ListingChunks { chunks: self, on_error }
    }
}

/// A frame to be mapped in chunks, with a list of the chunks that fail; [`FrameChunks::on_error`] makes one.
#[must_use = "chunks are lazy: end them with `map`, `try_map`, `map_series` or `for_each`"]
pub struct ListingChunks<'a, S = DataFrame, P = ByRows> {
    chunks: FrameChunks<'a, S, P>,
    on_error: OnError,
}

impl<S: Rows, P: ChunkStrategy<S>> ListingChunks<'_, S, P> {
    /// As [`FrameChunks::map`].
    ///
    /// # Errors
    ///
    /// As [`FrameChunks::map`] with [`OnError::Stop`]. Else if the frame cannot be cut, if no chunk is left (the first
    /// error), and if a chunk is left out where the order of the rows is to be kept.
    #[track_caller]
    pub fn map(self, f: impl Fn(S) -> PolarsResult<S> + Sync) -> Result<(S, Vec<ChunkError>), ChunkError> {
        self.map_and_list(f)
    }

    /// As [`FrameChunks::try_map`].
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map).
    #[track_caller]
    pub fn try_map<E>(self, f: impl Fn(S) -> Result<S, E> + Sync) -> Result<(S, Vec<ChunkError>), ChunkError>
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        self.map_and_list(f)
    }

    /// As [`FrameChunks::map_series`].
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map).
    #[track_caller]
    pub fn map_series(
        self,
        f: impl Fn(S) -> PolarsResult<Series> + Sync,
    ) -> Result<(Series, Vec<ChunkError>), ChunkError> {
        self.map_and_list(f)
    }

    /// As [`FrameChunks::for_each`]. Returns the errors of the chunks that failed; all of them may have.
    ///
    /// # Errors
    ///
    /// As [`FrameChunks::for_each`] with [`OnError::Stop`]. Else if the frame cannot be cut.
    #[track_caller]
    pub fn for_each(self, f: impl Fn(S) -> PolarsResult<()> + Sync) -> Result<Vec<ChunkError>, ChunkError> {
        let Self { chunks, on_error } = self;
        let plan = chunks.make_plan_for_values()?;
        let run = |index| f(plan.extract(chunks.frame, index)?);
        chunks.run_each(&plan, type_name_of_val(&f), on_error, run, |results| {
            Ok(results.into_iter().filter_map(Result::err).collect())
        })
    }

    #[track_caller]
    fn map_and_list<R, E>(self, f: impl Fn(S) -> Result<R, E> + Sync) -> Result<(R, Vec<ChunkError>), ChunkError>
    where
        R: Rows,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let Self { chunks, on_error } = self;
        let plan = chunks.make_plan()?;
        let map_chunk = chunks.chunk_fn(&plan, |_, chunk| f(chunk));
        chunks.run_each(&plan, type_name_of_val(&f), on_error, map_chunk, |results| {
            let (mut good, mut failed, mut indices) = (Vec::new(), Vec::new(), Vec::new());
            for (index, result) in results.into_iter().enumerate() {
                match result {
                    Ok(result) => {
                        good.push(result);
                        indices.push(index);
                    }
                    Err(error) => failed.push(error),
                }
            }
            let mut refuse = |position: usize, mismatch| {
                let chunk: usize = indices[position];
                failed.push(ChunkError::new(chunk, plan.rows(chunk), ChunkMismatch::OtherChunks(mismatch)));
            };
            if on_error == OnError::Skip {
                good = fitting(good, chunks.declared_schema(), &mut refuse);
            }
            failed.sort_by_key(ChunkError::chunk);
            if good.is_empty() && !failed.is_empty() {
                return Err(failed.swap_remove(0));
            }
            Ok((chunks.stack_results(&plan, good)?, failed))
        })
    }
}

/// The results that can be stacked. The others are passed to `refuse`, with their positions.
pub(super) fn fitting<R: Rows>(
    results: Vec<R>,
    schema: Option<&Schema>,
    refuse: &mut impl FnMut(usize, GatherError),
) -> Vec<R> {
    let mut left: Vec<(usize, R)> = results.into_iter().enumerate().collect();
    loop {
        // Stacking consumes the parts, and slices share their buffers.
        let parts: Vec<R> = left.iter().map(|(_, part)| part.slice_rows(0..part.row_count())).collect();
        match R::stack(parts, schema) {
            Err(mismatch) if mismatch.chunk() < left.len() => {
                let (position, _) = left.remove(mismatch.chunk());
                refuse(position, mismatch);
            }
            _ => return left.into_iter().map(|(_, part)| part).collect(),
        }
    }
}
