//! [`Map::collect`] and [`Map::for_each`]: the function on all items.

use super::function::MapFn;
#[cfg(feature = "process")]
use super::process::ProcessRun;
use super::progress::Bar;
use super::schedule::MapWorkers;
use super::source::Source;
#[cfg(feature = "process")]
use super::value_list::ValueList;
use super::{Collect, CollectRun, Map};

impl<S, F, A> Map<S, F, A>
where
    S: Source<Item = A>,
    F: MapFn<A>,
{
    /// Runs the function on all items and collects the results, in input order.
    ///
    /// Into a `Result` or `Option`, returns the first failure in input order. Items behind it may have run: at most one
    /// block a worker.
    ///
    /// # Panics
    ///
    /// With the function's own payload if it panics: no further item starts, and the results so far are dropped. Into a
    /// `Result` or `Option`, also if it panics on an item behind the first failure which a worker had started already.
    /// And if the pool is closed before all items have run.
    #[track_caller]
    pub fn collect<C: Collect<F::Out>>(self) -> C {
        let proof = self.function.call_proof();
        let bar = Bar::new(self.label, self.function.on_progress(), self.source.count());
        #[cfg(feature = "process")]
        if let Some(function) = self.function.process_batches() {
            let run =
                ProcessRun { core: &self.core, function, grain: self.grain, bar: bar.as_ref(), accept: C::accept };
            let results = run.collect(self.source).map(C::Values::from_values);
            return finish_collect(results, bar.as_ref());
        }
        let run = CollectRun {
            workers: MapWorkers::begin(&self.core, self.options.own_worker),
            name: self.name,
            grain: self.grain,
            bar: bar.as_ref(),
            call: |item| self.function.call(item),
            accept: C::accept,
            can_stop: C::CAN_STOP,
        };
        finish_collect(run.collect_list(self.source, proof), bar.as_ref())
    }

    /// Runs the function on all items and `op` on each result, on the worker that has it, in no particular order.
    ///
    /// # Panics
    ///
    /// As [`collect`](Self::collect), and with the payload of `op`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    /// use fanfold::Pool;
    ///
    /// let letters = AtomicUsize::new(0);
    /// Pool::cpu_default().map(["one", "three"], str::len).for_each(|length| {
    ///     letters.fetch_add(length, Ordering::Relaxed);
    /// });
    /// assert_eq!(letters.into_inner(), 8);
    /// ```
    #[track_caller]
    pub fn for_each(self, op: impl Fn(F::Out) + Sync) {
        let proof = self.function.call_proof();
        let bar = Bar::new(self.label, self.function.on_progress(), self.source.count());
        let accept = |result| {
            op(result);
            Ok::<(), std::convert::Infallible>(())
        };
        #[cfg(feature = "process")]
        if let Some(function) = self.function.process_batches() {
            let run = ProcessRun { core: &self.core, function, grain: self.grain, bar: bar.as_ref(), accept };
            let Ok(_) = run.collect(self.source);
            bar.iter().for_each(Bar::finish);
            return;
        }
        let run = CollectRun {
            workers: MapWorkers::begin(&self.core, self.options.own_worker),
            name: self.name,
            grain: self.grain,
            bar: bar.as_ref(),
            call: |item| self.function.call(item),
            accept,
            can_stop: false,
        };
        let Ok(_) = run.collect(self.source, proof);
        bar.iter().for_each(Bar::finish);
    }
}

/// The collection of all results, or of the first failure; ends the bar if there is none.
pub(super) fn finish_collect<R, C: Collect<R>>(results: Result<C::Values, C::Stop>, bar: Option<&Bar<'_>>) -> C {
    if let (Ok(_), Some(bar)) = (&results, bar) {
        bar.finish();
    }
    C::finish(results)
}
