//! Panics of Polars turned into errors: [`catch_polars_panic`] and [`catch_file_panic`].

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use polars::prelude::*;

/// Parts of the texts with which Polars panics on unsupported input: `todo!`, `unimplemented!`, a missing feature.
const UNSUPPORTED: [&str; 4] = ["not implemented", "not yet implemented", "not supported", "feature"];

/// Calls Polars, and turns a panic into an error.
pub(super) fn catch_polars_panic<T>(work: impl FnOnce() -> PolarsResult<T>) -> PolarsResult<T> {
    catch_with(work, |text| format!("Polars panicked ({text})"))
}

/// Calls Polars to read a file, and turns a panic into an error that names the likely cause: Polars panics on some
/// damaged files instead of returning an error.
pub(super) fn catch_file_panic<T>(work: impl FnOnce() -> PolarsResult<T>) -> PolarsResult<T> {
    catch_with(work, |text| {
        let is_unsupported = UNSUPPORTED.iter().any(|part| text.contains(part));
        let cause =
            if is_unsupported { "this build of Polars cannot read the file" } else { "the file may be damaged" };
        format!("Polars panicked ({text}): {cause}")
    })
}

fn catch_with<T>(work: impl FnOnce() -> PolarsResult<T>, describe: impl FnOnce(&str) -> String) -> PolarsResult<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let text = describe(panic_text(&*payload));
        Err(polars_err!(ComputeError: "{text}"))
    })
}

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("the panic has no text")
}
