//! [`ColumnMap`]: a function of numbers over a column, its results written straight into one buffer.
//!
//! No chunk of the frame is made and nothing is joined: blocks of values go to the workers, and each writes its own
//! places of the result. The values' validity is the input's, shared with it.

use std::error::Error;
use std::sync::Arc;

use polars::prelude::*;
use polars_core::utils::arrow::array::PrimitiveArray;

use super::error::{BadCut, ChunkError};
use crate::error::panics;
use crate::map::progress::Bar;
use crate::map::{CollectRun, Grain, Items, MapWorkers, panic_pool_closed};
use crate::pool::Core;
use crate::pool::Pool;
use crate::pool::scoped::Abandoned;
use crate::task::send_proof::CallProof;

/// A column of numbers about to be mapped; [`ParallelFrame::par_column`](crate::ParallelFrame::par_column) and
/// [`ParallelSeries::par_values`](crate::ParallelSeries::par_values) make one.
#[must_use = "a column's map is lazy: end it with `map`"]
pub struct ColumnMap<'a> {
    series: PolarsResult<&'a Series>,
    label: Option<&'static str>,
    core: Option<Arc<Core>>,
}

impl<'a> ColumnMap<'a> {
    pub(super) fn new(column: PolarsResult<&'a Column>) -> Self {
        Self { series: column.map(Column::as_materialized_series), label: None, core: None }
    }

    pub(super) fn of(series: &'a Series) -> Self {
        Self { series: Ok(series), label: None, core: None }
    }

    /// Shows a bar with this label, on a terminal and with the feature `progress`.
    pub fn progress(mut self, label: &'static str) -> Self {
        self.label = Some(label);
        self
    }

    /// Runs on this pool instead of the default one for computing.
    ///
    /// # Panics
    ///
    /// As [`Pool::submit`]. What is run on the pool panics if the pool is shut down by then, and names it.
    #[track_caller]
    pub fn on(mut self, pool: &Pool) -> Self {
        self.core = Some(Arc::clone(pool.core().with_threads("closures")));
        self
    }

    /// Maps each number. Nulls stay null, and the function never sees them.
    ///
    /// The function takes the column's own type (`f64` of a `Float64` column): there is no silent conversion. It runs
    /// as the function of a [`Map`](crate::Map) does, so a short column stays on the calling thread.
    ///
    /// # Errors
    ///
    /// [`ChunkError`] if there is no such column, if it is of another type than the function takes, or if the
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
    pub fn map<A, B, F>(self, f: F) -> Result<Column, ChunkError>
    where
        A: NumericNative<PolarsType: PolarsNumericType<Native = A>>,
        B: NumericNative<PolarsType: PolarsNumericType<Native = B>> + Default,
        F: Fn(A) -> B + Sync,
        ChunkedArray<B::PolarsType>: IntoSeries,
    {
        let series = self.series.map_err(BadCut::Polars)?;
        let numbers = of_type::<A>(series).map_err(BadCut::Polars)?;
        let core = self.core.as_ref().unwrap_or_else(|| Pool::cpu_default().core());
        let bar = Bar::new(self.label, Some(series.len() as u64));
        let mut start = 0;
        let arrays = numbers.downcast_iter().map(|array| {
            let values = array.values().as_slice();
            let rows = start..start + values.len();
            start = rows.end;
            let run = || match array.validity().filter(|valid| valid.unset_bits() > 0) {
                None => mapped(core, bar.as_ref(), values, &f),
                Some(valid) => mapped(core, bar.as_ref(), 0..values.len(), |row: usize| {
                    // What stands in a null's place is nobody's to see.
                    if valid.get_bit(row) { f(values[row]) } else { B::default() }
                }),
            };
            let failed = |panicked| ChunkError::new(0, rows, Box::new(panicked) as Box<dyn Error + Send + Sync>);
            let results = panics::catch(std::any::type_name::<F>(), run).map_err(failed)?;
            Ok(results.map(|results| PrimitiveArray::from_vec(results).with_validity(array.validity().cloned())))
        });
        let arrays = arrays.collect::<Result<Vec<_>, ChunkError>>()?.into_iter().collect::<Result<Vec<_>, Abandoned>>();
        let arrays = match arrays {
            Ok(arrays) => arrays,
            Err(Abandoned) => panic_pool_closed(std::any::type_name::<F>(), core),
        };
        let column = ChunkedArray::<B::PolarsType>::from_chunk_iter(series.name().clone(), arrays);
        Ok(column.into_series().into_column())
    }
}

/// The results for all items, in one buffer.
fn mapped<M, I, A, B>(
    core: &Arc<Core>,
    bar: Option<&Bar>,
    items: I,
    f: impl Fn(A) -> B + Sync,
) -> Result<Vec<B>, Abandoned>
where
    I: Items<A, M>,
    A: Send,
    B: Send,
{
    let run = CollectRun {
        workers: MapWorkers::of(core, false),
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

/// The column's values, if they are of this type.
fn of_type<A: NumericNative>(series: &Series) -> PolarsResult<&ChunkedArray<A::PolarsType>> {
    let wanted = A::PolarsType::get_static_dtype();
    polars_ensure!(
        series.dtype() == &wanted,
        SchemaMismatch: "the column `{}` is {}, and the function takes {wanted}: cast the column, or take its type",
        series.name(), series.dtype()
    );
    let values: &dyn SeriesTrait = &**series;
    values
        .as_any()
        .downcast_ref()
        .ok_or_else(|| polars_err!(SchemaMismatch: "the column `{}` does not hold what its type says", series.name()))
}
