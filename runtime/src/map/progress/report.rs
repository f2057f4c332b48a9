//! [`Reporter`], which calls a user's function with the number of items done; and [`WithProgress`], which carries that
//! function to the end of a map.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::map::function::{BatchFn, Detach, MapFn};
#[cfg(feature = "process")]
use crate::map::process::ProcessBatches;
use crate::task::send_proof::CallProof;

/// A function that takes the number of items done, and that of all items if it is known.
pub(crate) type ProgressFn<'a> = Arc<dyn Fn(usize, Option<usize>) + Send + Sync + 'a>;

/// The value of [`Reporter::reported`] before the first report.
const NOT_REPORTED: usize = usize::MAX;

/// Calls a function with the number of items done: with growing numbers, and by one thread at a time.
///
/// A thread that finds another one in the function leaves its items to the next report, so no thread waits. After a
/// panic of the function `is_reporting` stays set, and it is not called again.
pub(super) struct Reporter<'a> {
    report: ProgressFn<'a>,
    total: Option<usize>,
    done: AtomicUsize,
    /// The number of the last report; written by the thread that has set `is_reporting`.
    reported: AtomicUsize,
    /// Whether a thread is in the function.
    is_reporting: AtomicBool,
}

impl<'a> Reporter<'a> {
    pub(super) fn new(report: ProgressFn<'a>, total: Option<usize>) -> Self {
        Self {
            report,
            total,
            done: AtomicUsize::new(0),
            reported: AtomicUsize::new(NOT_REPORTED),
            is_reporting: AtomicBool::new(false),
        }
    }

    pub(super) fn advance(&self, items: usize) {
        self.done.fetch_add(items, Ordering::Relaxed);
        self.report();
    }

    /// Reports the last items, if they are not reported yet.
    pub(super) fn finish(&self) {
        self.report();
    }

    fn report(&self) {
        if self.is_reporting.swap(true, Ordering::Acquire) {
            return;
        }
        let done = self.done.load(Ordering::Relaxed);
        if self.reported.load(Ordering::Relaxed) != done {
            (self.report)(done, self.total);
            self.reported.store(done, Ordering::Relaxed);
        }
        self.is_reporting.store(false, Ordering::Release);
    }
}

/// A map's function with a function that its progress is reported to; [`Map::on_progress`](crate::Map::on_progress)
/// makes one.
pub struct WithProgress<'a, F> {
    pub(in crate::map) function: F,
    pub(in crate::map) report: ProgressFn<'a>,
}

impl<A, F: MapFn<A>> MapFn<A> for WithProgress<'_, F> {
    type Out = F::Out;

    #[inline]
    fn call(&self, item: A) -> F::Out {
        self.function.call(item)
    }

    fn call_proof(&self) -> CallProof<A, F::Out> {
        self.function.call_proof()
    }

    fn runs_in_processes(&self) -> Option<bool> {
        self.function.runs_in_processes()
    }

    #[cfg(feature = "process")]
    fn process_batches(&self) -> Option<&dyn ProcessBatches<A, F::Out>> {
        self.function.process_batches()
    }

    fn on_progress(&self) -> Option<ProgressFn<'_>> {
        Some(self.report.clone())
    }
}

impl<A, F: Detach<A>> Detach<A> for WithProgress<'static, F> {
    fn detach(self) -> BatchFn<A, F::Out>
    where
        A: 'static,
        F::Out: 'static,
    {
        self.function.detach()
    }

    fn detached_on_progress(&self) -> Option<ProgressFn<'static>> {
        Some(self.report.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_report_is_made_once_for_each_number_and_at_the_end_of_nothing() {
        let reports = Mutex::new(Vec::new());
        let report: ProgressFn<'_> = Arc::new(|done, total| reports.lock().expect("no panic").push((done, total)));
        let reporter = Reporter::new(Arc::clone(&report), Some(5));
        reporter.advance(2);
        reporter.advance(3);
        reporter.finish();
        Reporter::new(report, None).finish();
        assert_eq!(*reports.lock().expect("no panic"), [(2, Some(5)), (5, Some(5)), (0, None)]);
    }

    #[test]
    fn a_function_that_panicked_is_not_called_again() {
        let calls = AtomicUsize::new(0);
        let report: ProgressFn<'_> = Arc::new(|_, _| {
            calls.fetch_add(1, Ordering::Relaxed);
            panic!("in the report")
        });
        let reporter = Reporter::new(report, None);
        assert!(catch_unwind(AssertUnwindSafe(|| reporter.advance(1))).is_err());
        reporter.advance(1);
        reporter.finish();
        assert_eq!(calls.load(Ordering::Relaxed), 1);
    }
}
