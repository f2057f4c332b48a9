//! [`GroupedScan`]: a scan whose chunks have whole groups.

use std::any::type_name;
use std::error::Error;
use std::marker::PhantomData;
use std::ops::Range;

use polars::prelude::*;

use super::Scan;
use super::chunk_fn::ChunkFn;
use super::map::ScanMap;
use crate::frame::group_index::run_starts;
use crate::frame::groups::{GroupResult, map_each_group};

/// A [`Scan`] whose chunks have whole groups; [`Scan::par_groups`] makes one.
#[must_use = "a scan is lazy: end it with `map` or `map_groups`"]
pub struct GroupedScan {
    scan: Scan,
    keys: Vec<PlSmallStr>,
}

impl GroupedScan {
    pub(super) fn new(scan: Scan, keys: Vec<PlSmallStr>) -> Self {
        Self { scan, keys }
    }

    /// Sets the function that maps each chunk of whole groups, as [`Scan::map`] does.
    pub fn map<T, F>(self, f: F) -> ScanMap<F>
    where
        T: Send,
        F: Fn(DataFrame) -> PolarsResult<T> + Sync,
    {
        self.scan.map(f)
    }

    /// Maps each group separately, as [`FrameChunks::map_groups`](crate::FrameChunks::map_groups) does. The function
    /// returns a frame, or a value that becomes a row, such as a struct that implements `serde::Serialize`.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::prelude::*;
    /// use polars::prelude::*;
    ///
    /// # fn main() -> PolarsResult<()> {
    /// let lazy = df!("carrier" => ["AA", "AA", "UA"], "delay" => [5, 7, 0])?.lazy();
    /// let latest = |flights: DataFrame| flights.sort(["delay"], Default::default()).map(|rows| rows.tail(Some(1)));
    /// let latest = lazy.par_rows(2).par_groups(["carrier"]).map_groups(latest).collect()?;
    /// assert_eq!(latest, df!("carrier" => ["AA", "UA"], "delay" => [7, 0])?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "apply")]
    pub fn map_groups<T, M>(self, f: impl Fn(DataFrame) -> PolarsResult<T> + Sync) -> ScanMap<impl ChunkFn<DataFrame>>
    where
        T: GroupResult<M, DataFrame, ChunkResults = DataFrame>,
    {
        ScanMap::new(self.scan, GroupFn { f, keys: self.keys, _types: PhantomData })
    }
}

/// The function of [`GroupedScan::map_groups`].
struct GroupFn<F, T, M> {
    f: F,
    keys: Vec<PlSmallStr>,
    _types: PhantomData<fn(M) -> T>,
}

impl<F, T, M> ChunkFn<DataFrame> for GroupFn<F, T, M>
where
    F: Fn(DataFrame) -> PolarsResult<T> + Sync,
    T: GroupResult<M, DataFrame, ChunkResults = DataFrame>,
{
    fn call(&self, _: usize, _: Range<usize>, frame: DataFrame) -> Result<DataFrame, Box<dyn Error + Send + Sync>> {
        let starts = run_starts(&frame.select(self.keys.iter().cloned())?)?;
        let ends = starts.iter().skip(1).copied().chain([frame.height()]);
        // Rows without a group are one empty group.
        let empty = starts.is_empty().then_some(0..0);
        let groups: Vec<Range<usize>> =
            starts.iter().copied().zip(ends).map(|(from, to)| from..to).chain(empty).collect();
        Ok(map_each_group(&frame, &groups, &self.keys, Self::name(), &self.f, |result, _| Ok(result))?)
    }

    fn name() -> &'static str {
        type_name::<F>()
    }
}
