//! [`QueryBatches`]: the rows of a `LazyFrame`, in batches of a fixed size, as Polars' streaming engine produces them.
//!
//! The query runs on a thread of its own and sends its batches over a channel of capacity 1, so it reads no further
//! ahead than the workers take batches. It also sends how it ended: Polars' own `collect_batches` reports a query that
//! panicked as a query that is complete.

use std::num::NonZero;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};

use polars::prelude::*;

use super::catch_panic::{catch_file_panic, catch_polars_panic};
use super::changed_file_check::ChangedFileCheck;
use super::failing_file::FailingFileFinder;
use super::query_steps::QuerySteps;
use super::rebatcher::Rebatcher;
use crate::pool;

/// A message of the query's thread.
enum QueryEvent {
    Batch(DataFrame),
    End,
    Failed(PolarsError),
}

/// The rows of a query, in batches of the requested size.
pub(super) struct QueryBatches {
    /// `None` once the query has ended.
    events: Option<Receiver<QueryEvent>>,
    query: Option<JoinHandle<()>>,
    /// Rows of the query's own batches, rebatched here: a message for each small chunk would cost more than the chunk.
    rows: Rebatcher,
    /// The batch of a query without rows; taken once there are rows.
    empty: Option<DataFrame>,
    changed_files: ChangedFileCheck,
}

impl QueryBatches {
    pub(super) fn new(
        mut frame: LazyFrame,
        steps: &QuerySteps,
        rows: NonZero<usize>,
        changed_files: ChangedFileCheck,
        failing_file: Option<Box<FailingFileFinder>>,
    ) -> PolarsResult<Self> {
        let with_file = move |error| match &failing_file {
            Some(finder) => finder.name_file(error),
            None => error,
        };
        // A panic in a user's query need not come from a damaged file.
        let reads_files = !changed_files.is_empty();
        // Files that cannot be opened and missing columns are reported here.
        let schema = if reads_files {
            catch_file_panic(|| frame.collect_schema())
        } else {
            catch_polars_panic(|| frame.collect_schema())
        };
        let mut schema = schema.map_err(&with_file)?;
        if !steps.is_empty() {
            // An error here is one of the steps, and no file is to be looked for.
            frame = steps.apply(frame);
            schema = catch_polars_panic(|| frame.collect_schema())?;
        }
        let (sender, events) = sync_channel(1);
        let batch_sender = sender.clone();
        let send_batch = move |batch: DataFrame| {
            // `true` stops the query: the receiver is gone.
            Ok(batch_sender.send(QueryEvent::Batch(batch)).is_err())
        };
        let query = frame.sink_batches(PlanCallback::new(send_batch), true, None)?;
        let run = move || {
            let run = || query.collect_with_engine(Engine::Streaming);
            let last = match if reads_files { catch_file_panic(run) } else { catch_polars_panic(run) } {
                Ok(_) => QueryEvent::End,
                Err(error) => QueryEvent::Failed(with_file(error)),
            };
            let _ = sender.send(last);
        };
        let query = thread::Builder::new().name("fanfold-scan".into()).spawn(run)?;
        let empty = DataFrame::empty_with_schema(&schema);
        Ok(Self {
            events: Some(events),
            query: Some(query),
            rows: Rebatcher::new(rows),
            empty: Some(empty),
            changed_files,
        })
    }

    /// The next batch; a query without rows has one empty batch.
    pub(super) fn next(&mut self) -> PolarsResult<Option<DataFrame>> {
        loop {
            if let Some(rows) = self.rows.next()? {
                return Ok(Some(rows));
            }
            let Some(messages) = &self.events else { return Ok(None) };
            // The worker's permit is released while it waits: the query may call functions that use Fanfold.
            let message = messages.try_recv().or_else(|_| pool::blocking_section(|| messages.recv()));
            let message = message.unwrap_or_else(|_| QueryEvent::Failed(disconnected()));
            let last = match message {
                QueryEvent::Batch(batch) => {
                    if self.empty.take().is_some() {
                        self.changed_files.check_first_file()?;
                    }
                    self.rows.push(batch);
                    continue;
                }
                QueryEvent::End => self.changed_files.check().and_then(|()| self.rows.rest()),
                QueryEvent::Failed(error) => Err(error),
            };
            self.events = None;
            return last.map(|rows| rows.or_else(|| self.empty.take()));
        }
    }
}

impl Drop for QueryBatches {
    fn drop(&mut self) {
        // Disconnects the channel: a query that is blocked in `send` gets an error and stops.
        self.events = None;
        if let Some(query) = self.query.take() {
            let _ = pool::blocking_section(|| query.join());
        }
    }
}

fn disconnected() -> PolarsError {
    polars_err!(ComputeError: "the query's thread ended without a result")
}
