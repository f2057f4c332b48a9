//! [`guarded`]: Polars on what may be damaged.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use polars::prelude::*;

/// Runs Polars on a file, which may be damaged: some that are make it panic instead of failing.
pub(super) fn guarded<T>(work: impl FnOnce() -> PolarsResult<T>) -> PolarsResult<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| Err(panicked(&*payload)))
}

fn panicked(payload: &(dyn Any + Send)) -> PolarsError {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("it did not say why");
    polars_err!(ComputeError: "Polars panicked ({text}): the file may be damaged")
}
