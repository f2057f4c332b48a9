//! [`Source`]: where chunks come from; and [`Batches`], the rows of a query, as Polars' streaming engine gives them.
//!
//! The query runs on a thread of its own and hands its batches over one at a time, so that it reads no further than
//! the workers come. How it ended is told as well: Polars' own `collect_batches` takes a query that panicked for one
//! that is through.

use std::num::NonZero;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};

use polars::prelude::*;

use super::catch_panic::{guarded, guarded_file};
use super::parquet::{Blocks, Read};
use super::recut::Recut;
use super::suspects::Suspects;
use super::watched::Watched;
use crate::pool;

/// Where chunks come from.
pub(super) enum Source {
    Files(Blocks),
    Query(Batches),
}

impl Source {
    pub(super) fn next(&mut self) -> PolarsResult<Option<Chunk>> {
        match self {
            Self::Files(blocks) => blocks.next(),
            Self::Query(batches) => Ok(batches.next()?.map(Chunk::Rows)),
        }
    }
}

/// A chunk on its way to its worker, who reads it where that is still to be done.
pub(super) enum Chunk {
    Rows(DataFrame),
    Unread(Read),
}

impl Chunk {
    pub(super) fn height(&self) -> usize {
        match self {
            Self::Rows(rows) => rows.height(),
            Self::Unread(read) => read.height(),
        }
    }

    pub(super) fn rows(self) -> PolarsResult<DataFrame> {
        match self {
            Self::Rows(rows) => Ok(rows),
            Self::Unread(read) => read.rows(),
        }
    }
}

enum Message {
    Rows(DataFrame),
    End,
    Failed(PolarsError),
}

/// A query's rows, in batches of as many rows as were asked for.
pub(super) struct Batches {
    /// Nothing once the query has ended.
    messages: Option<Receiver<Message>>,
    query: Option<JoinHandle<()>>,
    /// Rows that the query gave, as they came: a message for each chunk would cost more than a small chunk.
    rows: Recut,
    /// What a query without rows gives.
    empty: Option<DataFrame>,
    watched: Watched,
}

impl Batches {
    pub(super) fn new(
        mut frame: LazyFrame,
        rows: NonZero<usize>,
        watched: Watched,
        suspects: Option<Box<Suspects>>,
    ) -> PolarsResult<Self> {
        let named = move |error| match &suspects {
            Some(suspects) => suspects.named(error),
            None => error,
        };
        // A query of a user may panic for other reasons than a damaged file.
        let reads_files = watched.is_any();
        // Files that cannot be opened, and columns that are not there, are told of here.
        let schema =
            if reads_files { guarded_file(|| frame.collect_schema()) } else { guarded(|| frame.collect_schema()) };
        let schema = schema.map_err(&named)?;
        let (sender, messages) = sync_channel(1);
        let to_workers = sender.clone();
        let hand_over = move |batch: DataFrame| {
            // True stops the query: nobody wants more of it.
            Ok(to_workers.send(Message::Rows(batch)).is_err())
        };
        let query = frame.sink_batches(PlanCallback::new(hand_over), true, None)?;
        let run = move || {
            let run = || query.collect_with_engine(Engine::Streaming);
            let last = match if reads_files { guarded_file(run) } else { guarded(run) } {
                Ok(_) => Message::End,
                Err(error) => Message::Failed(named(error)),
            };
            let _ = sender.send(last);
        };
        let query = thread::Builder::new().name("fanfold-scan".into()).spawn(run)?;
        let empty = DataFrame::empty_with_schema(&schema);
        Ok(Self { messages: Some(messages), query: Some(query), rows: Recut::new(rows), empty: Some(empty), watched })
    }

    /// The next rows; a query without any gives an empty frame first.
    pub(super) fn next(&mut self) -> PolarsResult<Option<DataFrame>> {
        loop {
            if let Some(rows) = self.rows.next()? {
                return Ok(Some(rows));
            }
            let Some(messages) = &self.messages else { return Ok(None) };
            // A worker gives its permit back while it waits: the query may call functions that use Fanfold.
            let message = messages.try_recv().or_else(|_| pool::blocking_section(|| messages.recv()));
            let message = message.unwrap_or_else(|_| Message::Failed(stopped()));
            let last = match message {
                Message::Rows(batch) => {
                    if self.empty.take().is_some() {
                        self.watched.check_opened()?;
                    }
                    self.rows.push(batch);
                    continue;
                }
                Message::End => self.watched.check().and_then(|()| self.rows.rest()),
                Message::Failed(error) => Err(error),
            };
            self.messages = None;
            return last.map(|rows| rows.or_else(|| self.empty.take()));
        }
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        // A query that waits to hand a batch over learns from this that nobody will take it.
        self.messages = None;
        if let Some(query) = self.query.take() {
            let _ = pool::blocking_section(|| query.join());
        }
    }
}

fn stopped() -> PolarsError {
    polars_err!(ComputeError: "the query stopped without saying why")
}
