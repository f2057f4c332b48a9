//! [`ColumnMap`]: maps a numeric column value by value, and writes the results into one buffer.
//!
//! The column is not cut into chunks and nothing is joined: a worker takes blocks of values and writes their results to
//! the same positions of the output buffer. The output shares the validity bitmap of the input.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use polars::prelude::*;
use polars_core::utils::arrow::array::PrimitiveArray;

use super::error::{ChunkError, FrameError};
use crate::error::panics;
use crate::map::progress::{Bar, ProgressFn};
use crate::map::{CollectRun, Grain, Items, MapWorkers, panic_pool_closed};
use crate::pool::Core;
use crate::pool::Pool;
use crate::pool::runtime_warning::warn_if_map_blocks;
use crate::pool::scoped::Abandoned;
use crate::task::send_proof::CallProof;

/// A numeric column to be mapped value by value. [`ParallelFrame::par_column`](crate::ParallelFrame::par_column) and
/// [`ParallelSeries::par_values`](crate::ParallelSeries::par_values) create it.
#[must_use = "a column's map is lazy: end it with `map`"]
pub struct ColumnMap<'a> {
    series: PolarsResult<&'a Series>,
    label: Option<&'static str>,
    report: Option<ProgressFn<'a>>,
    core: Option<Arc<Core>>,
}

impl fmt::Debug for ColumnMap<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ColumnMap")
            .field("column", &self.series.as_ref().map(|series| series.name()))
            .finish_non_exhaustive()
    }
}

impl<'a> ColumnMap<'a> {
    pub(super) fn from_column(column: PolarsResult<&'a Column>) -> Self {
        Self { series: column.map(Column::as_materialized_series), label: None, report: None, core: None }
    }

    pub(super) fn from_series(series: &'a Series) -> Self {
        Self { series: Ok(series), label: None, report: None, core: None }
    }

    /// Shows a progress bar with this label, on a terminal and with the feature `progress`.
    pub fn progress(mut self, label: &'static str) -> Self {
        self.label = Some(label);
        self
    }

    /// Calls `report` with the number of values done and that of all values, as [`Map::on_progress`] does.
    ///
    /// # Panics
    ///
    /// [`map`](Self::map) panics with the payload of `report`.
    ///
    /// [`Map::on_progress`]: crate::Map::on_progress
    pub fn on_progress(mut self, report: impl Fn(usize, Option<usize>) + Send + Sync + 'a) -> Self {
        self.report = Some(Arc::new(report));
        self
    }

    /// Runs on this pool instead of the default CPU pool.
    ///
    /// # Panics
    ///
    /// As [`Pool::submit`]. [`map`](Self::map) panics, with the pool's name, if the pool is shut down by then.
    #[track_caller]
    pub fn on(mut self, pool: &Pool) -> Self {
        self.core = Some(Arc::clone(pool.core().with_threads("closures")));
        self
    }

    /// Maps each value. Nulls stay null, and the function is not called for them.
    ///
    /// The function takes the column's own type (`f64` of a `Float64` column): there is no implicit conversion. It is
    /// scheduled like the function of a [`Map`](crate::Map), so a short column is mapped on the calling thread.
    ///
    /// # Errors
    ///
    /// [`ChunkError`] if there is no such column, if the function takes another type than the column's, or if the
    /// function panics.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let df = df!("miles" => [Some(100.0), None])?;
    /// let km: Column = df.par_column("miles").map(|miles: f64| miles * 1.609_344)?;
    /// assert_eq!(km.f64()?.to_vec(), [Some(160.9344), None]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    #[doc(alias = "apply")]
    #[doc(alias = "map_elements")]
    pub fn map<A, B, F>(self, f: F) -> Result<Column, ChunkError>
    where
        A: NumericNative<PolarsType: PolarsNumericType<Native = A>>,
        B: NumericNative<PolarsType: PolarsNumericType<Native = B>> + Default,
        F: Fn(A) -> B + Sync,
        ChunkedArray<B::PolarsType>: IntoSeries,
    {
        let series = self.series.map_err(FrameError::Polars)?;
        let numbers = typed_values::<A>(series).map_err(FrameError::Polars)?;
        warn_if_map_blocks(std::any::type_name::<F>());
        let core = self.core.as_ref().unwrap_or_else(|| Pool::cpu_default().core());
        let bar = Bar::new(self.label, self.report.clone(), Some(series.len() as u64));
        let mut start = 0;
        let arrays = numbers.downcast_iter().map(|array| {
            let values = array.values().as_slice();
            let rows = start..start + values.len();
            start = rows.end;
            let run = || match array.validity().filter(|valid| valid.unset_bits() > 0) {
                None => map_items(core, bar.as_ref(), values, &f),
                Some(valid) => map_items(core, bar.as_ref(), 0..values.len(), |row: usize| {
                    // The value below a null is arbitrary, so the function must not see it.
                    if valid.get_bit(row) { f(values[row]) } else { B::default() }
                }),
            };
            let chunk_error = |panicked| ChunkError::new(0, rows, Box::new(panicked) as Box<dyn Error + Send + Sync>);
            let results = panics::catch(std::any::type_name::<F>(), run).map_err(chunk_error)?;
            Ok(results.map(|results| PrimitiveArray::from_vec(results).with_validity(array.validity().cloned())))
        });
        let arrays = arrays.collect::<Result<Vec<_>, ChunkError>>()?.into_iter().collect::<Result<Vec<_>, Abandoned>>();
        let arrays = match arrays {
            Ok(arrays) => arrays,
            Err(Abandoned) => panic_pool_closed(std::any::type_name::<F>(), core),
        };
        let column = ChunkedArray::<B::PolarsType>::from_chunk_iter(series.name().clone(), arrays);
        bar.iter().for_each(Bar::finish);
        Ok(column.into_series().into_column())
    }
}

/// Maps all items into one buffer.
fn map_items<M, I, A, B>(
    core: &Arc<Core>,
    bar: Option<&Bar<'_>>,
    items: I,
    f: impl Fn(A) -> B + Sync,
) -> Result<Vec<B>, Abandoned>
where
    I: Items<A, M>,
    A: Send,
    B: Send,
{
    let run = CollectRun {
        workers: MapWorkers::begin(core, false),
        name: std::any::type_name_of_val(&f),
        grain: Grain::Adaptive,
        bar,
        call: f,
        accept: Ok::<B, std::convert::Infallible>,
        can_stop: false,
    };
    let Ok(results) = run.try_collect(items.into_source(), CallProof::from_bounds())?;
    Ok(results)
}

/// The column as an array of `A`.
fn typed_values<A: NumericNative>(series: &Series) -> PolarsResult<&ChunkedArray<A::PolarsType>> {
    let wanted = A::PolarsType::get_static_dtype();
    polars_ensure!(
        series.dtype() == &wanted,
        SchemaMismatch: "the column `{}` is {}, and the function takes {wanted}: cast the column, or take its type",
        series.name(), series.dtype()
    );
    let values: &dyn SeriesTrait = &**series;
    values.as_any().downcast_ref().ok_or_else(
        || polars_err!(SchemaMismatch: "the column `{}` has another physical type than its data type", series.name()),
    )
}
