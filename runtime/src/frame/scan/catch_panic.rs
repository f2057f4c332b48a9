//! [`guarded`]: panics of Polars as errors.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use polars::prelude::*;

/// Parts of the texts with which Polars panics on what it does not support: `todo!`, `unimplemented!`, a missing feature.
const UNSUPPORTED: [&str; 4] = ["not implemented", "not yet implemented", "not supported", "feature"];

/// Runs Polars, and makes an error of a panic.
pub(super) fn guarded<T>(work: impl FnOnce() -> PolarsResult<T>) -> PolarsResult<T> {
    caught(work, |text| format!("Polars panicked ({text})"))
}

/// Runs Polars on a file: some files that are damaged make it panic instead of failing.
pub(super) fn guarded_file<T>(work: impl FnOnce() -> PolarsResult<T>) -> PolarsResult<T> {
    caught(work, |text| {
        let unsupported = UNSUPPORTED.iter().any(|part| text.contains(part));
        let why = if unsupported { "this build of Polars cannot read the file" } else { "the file may be damaged" };
        format!("Polars panicked ({text}): {why}")
    })
}

fn caught<T>(work: impl FnOnce() -> PolarsResult<T>, told: impl FnOnce(&str) -> String) -> PolarsResult<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let text = told(panic_text(&*payload));
        Err(polars_err!(ComputeError: "{text}"))
    })
}

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("it did not say why")
}
