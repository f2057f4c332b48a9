//! [`ByGroups`]: cuts a frame between groups, so that each group is in one chunk.
//!
//! If the rows of each group are adjacent, chunks are slices of the frame, without a copy: the ends of balanced chunks
//! are moved on to the start of the next group. Otherwise the row numbers are listed group by group, the list is cut in
//! the same way, and each chunk is gathered by its part of the list.

use std::any::type_name_of_val;
use std::ops::Range;
use std::panic::RefUnwindSafe;

use polars::prelude::*;

use super::chunks::FrameChunks;
use super::error::{ChunkError, FrameError};
use super::group_index::{self, GroupIndex, chunk_ranges};
use super::plan::{self, ChunkPlan, ChunkStrategy};
use super::rows::Rows;
use super::typed::FromRows;
use super::{chunk_count, concat};
use crate::chunks::gather::GatherError;
use crate::error::panics;

/// Cuts into chunks of whole groups, as [`par_groups`](crate::ParallelFrame::par_groups) does.
#[derive(Clone, Debug)]
pub struct ByGroups {
    keys: Vec<PlSmallStr>,
    /// The number of chunks, if it is not the default.
    chunks: Option<usize>,
    keep_order: bool,
}

impl ByGroups {
    pub(crate) fn new(keys: Vec<PlSmallStr>) -> Self {
        Self::with_chunk_count(keys, None)
    }

    pub(crate) fn with_chunk_count(keys: Vec<PlSmallStr>, chunks: Option<usize>) -> Self {
        Self { keys, chunks, keep_order: false }
    }
}

impl FrameChunks<'_, DataFrame, ByGroups> {
    /// Sets the number of chunks. Each has about the same number of rows; there are fewer chunks if a group has more
    /// rows than that.
    pub fn chunks(mut self, chunks: usize) -> Self {
        self.strategy.chunks = Some(chunks);
        self
    }

    /// Sets whether the result's rows are put back into the order of the input's rows; the default is `false`.
    ///
    /// The function must return one row for each row it gets, in the same order. Another number of rows is an error.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let df = df!("group" => ["b", "a", "b", "a"], "x" => [1, 2, 3, 4])?;
    /// let same = df.par_groups(["group"]).keep_order(true).map(Ok)?;
    /// assert_eq!(same, df);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "transform")]
    pub fn keep_order(mut self, keep_order: bool) -> Self {
        self.strategy.keep_order = keep_order;
        self
    }

    /// Maps each group separately, and stacks the results in the order of the groups' first rows: Polars'
    /// `GroupBy::apply` on all cores.
    ///
    /// A function that returns frames gives a `DataFrame`. One that returns another value per group, such as a struct,
    /// gives what [`map_rows`](FrameChunks::map_rows) gives of as many rows: a `Vec`, or, if the values implement
    /// `serde::Serialize`, a `Series`, or a `DataFrame` with a column for each field.
    ///
    /// A frame without rows has one empty group.
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map). The text names the keys of the group too.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    /// use serde::Serialize;
    ///
    /// #[derive(Serialize)]
    /// struct Total {
    ///     carrier: String,
    ///     delay: i32,
    /// }
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let df = df!("carrier" => ["AA", "UA", "AA"], "delay" => [5, 0, 7])?;
    /// let totals: DataFrame = df.par_groups(["carrier"]).map_groups(|flights| {
    ///     let carrier = flights.column("carrier")?.str()?.get(0).unwrap_or_default().to_owned();
    ///     Ok(Total { carrier, delay: flights.column("delay")?.i32()?.sum().unwrap_or(0) })
    /// })?;
    /// assert_eq!(totals, df!("carrier" => ["AA", "UA"], "delay" => [12, 0])?);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    #[doc(alias = "apply")]
    #[doc(alias = "group_by_apply")]
    #[doc(alias = "agg")]
    pub fn map_groups<T, M, O>(self, f: impl Fn(DataFrame) -> PolarsResult<T> + Sync) -> Result<O, ChunkError>
    where
        T: GroupResult<M, O>,
    {
        if T::IS_ONE_ROW && self.strategy.keep_order {
            return Err(FrameError::InvalidRequest(
                "a value per group cannot be put into the order of the rows: leave `keep_order` away, or return frames",
            )
            .into());
        }
        let plan = self.make_plan()?;
        let function = type_name_of_val(&f);
        let map_chunk = |index| {
            let chunk = plan.extract(self.frame, index)?;
            let groups: Vec<Range<usize>> = plan.groups(index).collect();
            let check = |result: T, rows| result.check(&plan, rows);
            map_each_group(&chunk, &groups, &self.strategy.keys, function, &f, check)
        };
        self.run_chunks(&plan, function, map_chunk, |results| T::join_chunks(&self, &plan, results))
    }
}

/// What a function of [`map_groups`](FrameChunks::map_groups) may return for a group: a `DataFrame` (`M` is `Frames`),
/// or a value that becomes one row of `O` (`M` is `OneRow`).
///
/// The bound `RefUnwindSafe` tells values from frames, which never have it, as they hold trait objects.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of a group",
    label = "neither a `DataFrame` nor a value that becomes a row",
    note = "return a `DataFrame`, or a value without frames and series in it: a `Vec` is made of any, and a `DataFrame` or `Series` of what implements `serde::Serialize`"
)]
pub trait GroupResult<M, O>: Sized {
    /// The results of the groups of one chunk.
    #[doc(hidden)]
    type ChunkResults: Send;
    /// Whether the result is one row.
    #[doc(hidden)]
    const IS_ONE_ROW: bool;
    /// Checks the number of its rows for a group of `rows` rows.
    #[doc(hidden)]
    fn check(self, plan: &GroupPlan, rows: usize) -> Result<Self, String>;
    /// Joins the results of the groups of one chunk.
    #[doc(hidden)]
    fn join_groups(results: Vec<Self>) -> Result<Self::ChunkResults, GatherError>;
    /// Joins the results of all chunks.
    #[doc(hidden)]
    fn join_chunks(
        frame: &FrameChunks<'_, DataFrame, ByGroups>,
        plan: &GroupPlan,
        chunks: Vec<Self::ChunkResults>,
    ) -> Result<O, ChunkError>;
}

/// The results of groups are frames.
#[doc(hidden)]
pub struct Frames;

/// The result of a group is one row.
#[doc(hidden)]
pub struct OneRow;

impl GroupResult<Frames, DataFrame> for DataFrame {
    type ChunkResults = DataFrame;
    const IS_ONE_ROW: bool = false;

    fn check(self, plan: &GroupPlan, rows: usize) -> Result<Self, String> {
        plan.check_row_count(self, rows)
    }

    fn join_groups(results: Vec<Self>) -> Result<DataFrame, GatherError> {
        concat::stack_groups(results)
    }

    fn join_chunks(
        frame: &FrameChunks<'_, DataFrame, ByGroups>,
        plan: &GroupPlan,
        chunks: Vec<DataFrame>,
    ) -> Result<DataFrame, ChunkError> {
        frame.stack_results(plan, chunks)
    }
}

impl<T: RefUnwindSafe, O: FromRows<T>> GroupResult<OneRow, O> for T {
    type ChunkResults = O::ChunkResults;
    const IS_ONE_ROW: bool = true;

    fn check(self, _: &GroupPlan, _: usize) -> Result<Self, String> {
        Ok(self)
    }

    fn join_groups(results: Vec<Self>) -> Result<O::ChunkResults, GatherError> {
        let mut builder = O::builder(results.len());
        for (group, result) in results.into_iter().enumerate() {
            O::push(&mut builder, result).map_err(|reason| GatherError::new(group, reason))?;
        }
        O::finish(builder).map_err(|error| GatherError::new(0, error.to_string()))
    }

    fn join_chunks(
        frame: &FrameChunks<'_, DataFrame, ByGroups>,
        plan: &GroupPlan,
        chunks: Vec<O::ChunkResults>,
    ) -> Result<O, ChunkError> {
        frame.join_rows(plan, chunks)
    }
}

/// Calls the function with each group of a chunk, and joins the results. `check` gets a result and the number of rows of
/// its group.
pub(super) fn map_each_group<T: GroupResult<M, O>, M, O>(
    chunk: &DataFrame,
    groups: &[Range<usize>],
    keys: &[PlSmallStr],
    function: &'static str,
    f: &impl Fn(DataFrame) -> PolarsResult<T>,
    check: impl Fn(T, usize) -> Result<T, String>,
) -> PolarsResult<T::ChunkResults> {
    let name_group =
        |rows: Range<usize>, text: &str| format!("group {}: {text}", group_label(&chunk.slice_rows(rows), keys));
    let map_group = |rows: &Range<usize>| match panics::catch(function, || f(chunk.slice_rows(rows.clone()))) {
        Ok(result) => {
            let checked = result.and_then(|result| {
                let checked = check(result, rows.len());
                checked.map_err(|reason| PolarsError::ShapeMismatch(reason.into()))
            });
            checked.map_err(|error| error.wrap_msg(|text| name_group(rows.clone(), text)))
        }
        Err(panicked) => Err(PolarsError::ComputeError(name_group(rows.clone(), &panicked.to_string()).into())),
    };
    let results = groups.iter().map(map_group).collect::<PolarsResult<Vec<_>>>()?;
    T::join_groups(results).map_err(|mismatch| {
        let rows = groups.get(mismatch.chunk()).cloned().unwrap_or(0..0);
        let reason = format!("its result does not fit the others: {}", mismatch.reason());
        PolarsError::SchemaMismatch(name_group(rows, &reason).into())
    })
}

/// Fails if there are no groups by these columns.
pub(super) fn check_keys(keys: &[PlSmallStr]) -> Result<(), &'static str> {
    if keys.is_empty() {
        return Err("groups need at least one key: name the columns whose equal values make a group");
    }
    if keys.iter().enumerate().any(|(index, key)| keys[..index].contains(key)) {
        return Err("a key of the groups is named twice: name each column once");
    }
    Ok(())
}

/// The keys of a group, for errors: `carrier = "AA"`.
fn group_label(group: &DataFrame, keys: &[PlSmallStr]) -> String {
    let values = keys.iter().map(|key| {
        let value = group.column(key).and_then(|column| column.get(0));
        value.map_or_else(|_| key.to_string(), |value| format!("{key} = {value}"))
    });
    values.collect::<Vec<_>>().join(", ")
}

impl plan::sealed::Sealed for ByGroups {}

impl ChunkStrategy<DataFrame> for ByGroups {
    type Plan = GroupPlan;

    fn plan(&self, frame: &DataFrame, workers: usize) -> Result<GroupPlan, FrameError> {
        check_keys(&self.keys).map_err(FrameError::InvalidRequest)?;
        if self.chunks == Some(0) {
            return Err(FrameError::InvalidRequest("a frame cannot be cut into 0 chunks: ask for at least 1"));
        }
        let keys = frame.select(self.keys.iter().cloned()).map_err(FrameError::Polars)?;
        let GroupIndex { starts, order } = GroupIndex::new(&keys).map_err(FrameError::Polars)?;
        let height = frame.height();
        let default_chunks = || chunk_count::default_chunk_count(height, || frame.estimated_bytes(), workers);
        let chunks = self.chunks.unwrap_or_else(default_chunks);
        let ranges = chunk_ranges(&starts, height, chunks);
        Ok(GroupPlan { ranges, starts, order, height, keep_order: self.keep_order })
    }
}

/// The chunks of [`ByGroups`].
#[doc(hidden)]
pub struct GroupPlan {
    /// The chunks, as ranges of the frame or of `order`.
    ranges: Vec<Range<usize>>,
    /// The first position of each group, in the frame or in `order`.
    starts: Vec<usize>,
    /// The row numbers, group by group, if the rows of groups are not adjacent in the frame.
    order: Option<Vec<IdxSize>>,
    /// The rows of the frame.
    height: usize,
    keep_order: bool,
}

impl GroupPlan {
    /// The groups of a chunk, as ranges of its rows.
    fn groups(&self, chunk: usize) -> impl Iterator<Item = Range<usize>> {
        let Range { start, end } = self.ranges[chunk];
        let first = self.starts.partition_point(|&group| group < start);
        let last = self.starts.partition_point(|&group| group < end);
        let starts = &self.starts[first..last];
        let ends = starts.iter().skip(1).copied().chain([end]);
        // A frame without rows has one empty group.
        let empty_group = starts.is_empty().then_some(0..0);
        starts.iter().copied().zip(ends).map(move |(from, to)| from - start..to - start).chain(empty_group)
    }

    /// The result for an input of `wanted` rows. An error if the order is to be kept and the result has another number.
    fn check_row_count<R: Rows>(&self, result: R, wanted: usize) -> Result<R, String> {
        let found = result.row_count();
        if self.keep_order && found != wanted {
            return Err(format!(
                "the function gave {found} rows for {wanted}: to keep the order of the rows it must give one for each"
            ));
        }
        Ok(result)
    }
}

impl ChunkPlan<DataFrame> for GroupPlan {
    fn count(&self) -> usize {
        self.ranges.len()
    }

    fn rows(&self, chunk: usize) -> Range<usize> {
        let range = self.ranges[chunk].clone();
        let Some(order) = &self.order else { return range };
        let rows = &order[range];
        match (rows.iter().min(), rows.iter().max()) {
            (Some(first), Some(last)) => *first as usize..*last as usize + 1,
            _ => 0..0,
        }
    }

    fn height(&self, chunk: usize) -> usize {
        self.ranges[chunk].len()
    }

    fn extract(&self, frame: &DataFrame, chunk: usize) -> PolarsResult<DataFrame> {
        let range = self.ranges[chunk].clone();
        match &self.order {
            None => Ok(frame.slice_rows(range)),
            Some(_) if frame.columns().iter().any(|column| column.dtype().contains_objects()) => polars_bail!(
                InvalidOperation: "Polars cannot pick scattered rows of a column of objects: drop it, or sort the rows \
                                   by the keys before the objects are made"
            ),
            Some(order) => frame.take(&IdxCa::from_slice("".into(), &order[range])),
        }
    }

    fn trim<R: Rows>(&self, chunk: usize, result: R) -> Result<R, String> {
        self.check_row_count(result, self.ranges[chunk].len())
    }

    /// Undoes the permutation of `order`, if the order is to be kept.
    fn finish<R: Rows>(&self, stacked: R) -> PolarsResult<R> {
        let Some(order) = self.order.as_ref().filter(|_| self.keep_order) else { return Ok(stacked) };
        polars_ensure!(
            stacked.row_count() == self.height,
            InvalidOperation: "the order of the rows cannot be kept where a chunk is left out: leave `keep_order` away"
        );
        let mut positions: Vec<IdxSize> = vec![0; self.height];
        for (position, &row) in order.iter().enumerate() {
            positions[row as usize] = group_index::row_number(position)?;
        }
        stacked.take_rows(&IdxCa::from_vec("".into(), positions))
    }
}
