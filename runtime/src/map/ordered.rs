//! [`Map::for_each_ordered`]: the calling thread consumes the results in order, each as soon as it is ready.
//!
//! Tasks of a [`scope`] run the items, so the function and the items may borrow. The calling thread pulls the source,
//! submits tasks, and takes the results of the oldest task, as [`MapIter`](super::MapIter) does.

use std::collections::VecDeque;
use std::convert::Infallible;
#[cfg(feature = "process")]
use std::ops::ControlFlow;
use std::panic::resume_unwind;

use super::batches::Batch;
use super::collect_run::panic_pool_closed;
use super::progress::Bar;
use super::schedule::end_cancelled_task;
use super::source::Source;
use super::task_window::TaskWindow;
use super::{Map, MapFn};
use crate::error::TaskError;
use crate::pool::runtime_warning::warn_if_map_blocks;
use crate::task::scope::{ScopedTask, scope};
use crate::task::send_proof::AssertSend;

/// The tasks of the map, oldest first. Those that have not started are cancelled when this is dropped, as the consumer
/// wants no more results then.
struct TasksInFlight<'scope, R>(VecDeque<ScopedTask<'scope, AssertSend<Batch<R>>>>);

impl<R> Drop for TasksInFlight<'_, R> {
    fn drop(&mut self) {
        self.0.iter().for_each(|task| _ = task.cancel());
    }
}

/// Why a map ends before its last result was consumed.
enum Ended<E> {
    /// The consumer failed.
    Refused(E),
    /// A task did not run.
    NotRun(TaskError),
}

impl<S, F, A> Map<S, F, A>
where
    S: Source<Item = A>,
    F: MapFn<A>,
{
    /// Runs the function on all items, and `consume` on each result, on this thread and in input order.
    ///
    /// A result is consumed as soon as it is ready and all before it were consumed, while workers run later items. So
    /// results need not fit into memory together: as many items are in flight as [`buffer`](Self::buffer) allows, by
    /// default as many as keep the workers busy. Function, items and `consume` may borrow.
    ///
    /// This thread also pulls the items, and consumes results in between. An iterator that waits in `next()` delays
    /// `consume`, and must not wait for what `consume` does.
    ///
    /// # Panics
    ///
    /// With the function's own payload if it panics, after the results before it were consumed; with the payload of
    /// `consume`; and if the pool is closed before all items have run. No further item starts then.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::Pool;
    ///
    /// let words = ["fan".to_string(), "fold".to_string()];
    /// let mut line = String::new();
    /// Pool::cpu_default().map(&words, |word: &String| word.to_uppercase()).for_each_ordered(|word| line += &word);
    /// assert_eq!(line, "FANFOLD");
    /// ```
    #[track_caller]
    pub fn for_each_ordered(self, mut consume: impl FnMut(F::Out)) {
        let Ok(()) = self.try_for_each_ordered(|result| {
            consume(result);
            Ok::<(), Infallible>(())
        });
    }

    /// As [`for_each_ordered`](Self::for_each_ordered), until `consume` fails: then no further item starts.
    ///
    /// # Errors
    ///
    /// The error of `consume`.
    ///
    /// # Panics
    ///
    /// As [`for_each_ordered`](Self::for_each_ordered).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Write;
    /// use fanfold::Pool;
    ///
    /// let mut file = Vec::new();
    /// let lines = Pool::cpu_default().map(0..3, |n| format!("{n} squared is {}\n", n * n));
    /// lines.try_for_each_ordered(|line| file.write_all(line.as_bytes()))?;
    /// assert!(file.ends_with(b"2 squared is 4\n"));
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn try_for_each_ordered<E>(self, mut consume: impl FnMut(F::Out) -> Result<(), E>) -> Result<(), E> {
        let Self { core, name, source, function, grain, buffer, options, label, .. } = self;
        warn_if_map_blocks(name);
        // Made for its check alone: items and results may cross threads.
        let _proof = function.call_proof();
        let bar = Bar::new(label, function.on_progress(), source.count());
        let mut window = TaskWindow::new(&core, grain, options, buffer);
        let mut source = source.into_iter();
        let function = &function;
        let ended = scope(|scope| {
            let mut tasks = TasksInFlight(VecDeque::new());
            let mut has_more = true;
            loop {
                while has_more
                    && !tasks.0.front().is_some_and(|oldest| oldest.is_finished() || window.is_source_slower())
                {
                    let items;
                    (items, has_more) = window.pull(tasks.0.len(), &mut source);
                    if items.is_empty() {
                        break;
                    }
                    // SAFETY: the function's `CallProof` says that items and results may cross threads, and `&F` is
                    // `Send` because a `MapFn` is `Sync`. One task alone takes the items.
                    let work = unsafe { AssertSend::new((items, function)) };
                    let run = move || {
                        let (items, function) = work.into_inner();
                        let batch = Batch::run(items, |items, results| run_batch(function, items, results));
                        // SAFETY: as above, of results, a time, and the payload of a panic, which is `Send`.
                        unsafe { AssertSend::new(batch) }
                    };
                    tasks.0.push_back(scope.submit_to(&core, name, options, run));
                }
                end_cancelled_task();
                let Some(task) = tasks.0.pop_front() else { return Ok(()) };
                let batch = match task.join() {
                    Ok(batch) => batch.into_inner(),
                    Err(error) => {
                        // The scope panics for tasks that did not run and were not joined.
                        tasks.0.drain(..).for_each(|task| drop(task.join()));
                        return Err(Ended::NotRun(error));
                    }
                };
                window.adjust(batch.results.0.len(), batch.took);
                let Batch { mut results, panic, .. } = batch;
                for result in results.0.by_ref() {
                    window.took_one();
                    consume(result).map_err(Ended::Refused)?;
                    if let Some(bar) = &bar {
                        bar.advance(1);
                    }
                }
                if let Some(payload) = panic {
                    resume_unwind(payload);
                }
            }
        });
        match ended {
            Ok(()) => {
                bar.iter().for_each(Bar::finish);
                Ok(())
            }
            Err(Ended::Refused(error)) => Err(error),
            Err(Ended::NotRun(TaskError::PoolClosed | TaskError::Cancelled)) => panic_pool_closed(name, &core),
            Err(Ended::NotRun(error)) => panic!("`{name}` cannot run on all items: {error}"),
        }
    }
}

/// Runs the function on each item; in a worker process, if it is a function for one.
fn run_batch<A, F: MapFn<A>>(function: &F, items: Vec<A>, results: &mut Vec<F::Out>) {
    #[cfg(feature = "process")]
    if let Some(function) = function.process_batches() {
        let mut items = items.into_iter();
        function.run(None, &mut || items.next(), &mut |result| {
            results.push(result);
            ControlFlow::Continue(())
        });
        return;
    }
    for item in items {
        results.push(function.call(item));
    }
}
