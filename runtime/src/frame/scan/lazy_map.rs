//! `par_map_batches`: a function of batches as a node of a `LazyFrame`.
//!
//! The streaming engine calls the node with its batches, on all of its threads at once and with Polars' other threads
//! off. The in-memory engine calls it once, with all rows: Fanfold cuts them into chunks then.

use std::any::type_name;

use polars::prelude::*;

use crate::error::panics;
use crate::frame::ParallelFrame;
use crate::frame::concat;
use crate::pool::config;
use crate::pool::polars_threads::is_serial_polars;

/// The query, followed by the function on its batches.
pub(super) fn map_batches<F>(lazy: LazyFrame, f: F, schema: SchemaRef) -> LazyFrame
where
    F: Fn(DataFrame) -> PolarsResult<DataFrame> + Send + Sync + 'static,
{
    let output = SchemaRef::clone(&schema);
    let output = move |_: &Schema| -> PolarsResult<SchemaRef> { Ok(SchemaRef::clone(&output)) };
    let map = move |rows| map_rows(&f, rows, &schema);
    // Nothing else is allowed: a filter behind the node must not move before it, and it needs all columns.
    lazy.map(map, AllowedOptimizations::STREAMING, Some(std::sync::Arc::new(output)), Some("par_map_batches"))
}

fn map_rows<F>(f: &F, rows: DataFrame, schema: &SchemaRef) -> PolarsResult<DataFrame>
where
    F: Fn(DataFrame) -> PolarsResult<DataFrame> + Sync,
{
    // The threads of the streaming engine, and those that run chunks, already work on other batches.
    if !is_serial_polars() && !config::serial() {
        return Ok(rows.par().schema(SchemaRef::clone(schema)).map(f)?);
    }
    let result = panics::catch(type_name::<F>(), || f(rows));
    let result = result.map_err(|panicked| polars_err!(ComputeError: "{panicked}"))??;
    concat::stack(vec![result], Some(schema))
        .map_err(|mismatch| polars_err!(SchemaMismatch: "the result of a batch does not fit: {}", mismatch.reason()))
}
