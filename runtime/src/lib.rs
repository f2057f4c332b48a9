//! Annotate a function, call it as before, and it runs on the right workers.
//!
//! ```
//! use fanfold::parallel;
//!
//! #[parallel(kind = "cpu")]
//! fn is_prime(n: u64) -> bool {
//!     n > 1 && (2..).take_while(|d| d * d <= n).all(|d| n % d != 0)
//! }
//!
//! # fn main() -> Result<(), fanfold::TaskError> {
//! assert!(is_prime(97)); // runs on a worker; this thread waits
//! let task = is_prime::submit(1_000_003); // runs on a worker; this thread goes on
//! let primes: Vec<bool> = is_prime::map(0..100).collect(); // runs on all cores, in order
//! assert_eq!(primes.iter().filter(|prime| **prime).count(), 25);
//! assert!(task.join()?);
//! # Ok(())
//! # }
//! ```
//!
#![cfg_attr(
    all(feature = "polars-lazy", feature = "process", feature = "tokio", feature = "trace"),
    doc = "The [guide] starts with [ten minutes](guide::start). It has chapters on [web services](guide::services), \
    and for those who come from [Python](guide::python), [rayon](guide::rayon), [Tokio](guide::tokio) and \
    [Polars](guide::polars)."
)]
#![cfg_attr(
    not(all(feature = "polars-lazy", feature = "process", feature = "tokio", feature = "trace")),
    doc = "The `guide`, in the documentation of all features, starts with ten minutes. It has chapters on web \
    services, and for those who come from Python, rayon, Tokio and Polars."
)]
//!
//! # A tour
//!
//! - [`macro@parallel`] is the attribute: `kind = "cpu"` computes, `kind = "io"` waits, `chunks = N` cuts the argument.
//!   Further options are `timeout`, `retries` and per-worker state (`init`).
//! - [`Task`] is a submitted call: [`join`](Task::join) it, `.await` it, [`cancel`](Task::cancel) it, or drop it, which
//!   detaches it.
//! - [`as_completed`], [`wait`], [`join_all`] and [`first`] wait for several tasks, their `_async` forms and
//!   [`TaskSet`] do so in async code; [`scope`] submits tasks that borrow. [`join`] runs two closures, as rayon's does:
//!   it is the form for recursion.
//! - [`Map`] runs a function on many items; it stays on the calling thread while sharing the work would cost more than
//!   it gains. End it with `collect`, `for_each`, `reduce` or `sum`, stream the results into a closure with
//!   `for_each_ordered`, or iterate it: lazily, with a bounded number of items in flight.
//! - [`Split`] is the trait of arguments that can be cut into chunks, [`Gather`] that of results that can be combined
//!   from those of chunks. Both can be implemented for your own types.
//! - [`map()`], [`submit`] and [`install`] run closures on the default cpu pool, without the attribute.
//! - [`Pool`] runs functions: there is a default pool for each kind, and there are `static` and owned pools.
//!   [`configure`], or `FANFOLD_CPU_THREADS`, `FANFOLD_IO_THREADS` and `FANFOLD_PROCESSES`, set the sizes of the
//!   default pools; `FANFOLD_SERIAL=1` (or `true`) runs everything on the caller's thread, for debugging.
//! - With the feature `tokio`, an `async fn` of `kind = "io"` is awaited as before, submitted to a runtime, and mapped
//!   over many items with a bounded number of futures in flight (`AsyncMap`).
//! - With the feature `process`, `kind = "process"` runs functions in worker processes, which may crash and can be
//!   killed: `init` says how programs start them, `channel` connects functions in processes and on threads.
//! - [`pools`] lists all pools with their [`Stats`], and with the feature `metrics` a recorder gets them.
//! - With the feature `tracing`, tasks and maps run inside the span that they were called in. With
//!   [`configure`]`().task_spans(true)` each task and chunk has a span of its own, with the times that it waited and
//!   ran.
//! - With the feature `trace`, `report` says which worker ran what and when.
//! - With the feature `polars`, `ParallelFrame` cuts a `DataFrame` into chunks, by rows or between groups, maps them,
//!   and stacks the results; or maps it row by row, as values of your own type. With `polars-lazy`, `scan_parquet` and
//!   its like do so with files larger than memory.
//! - [`TaskError`] says why a task has no result.
//!
//! # Features
//!
//! None is on by default. Frames need the Polars version that Fanfold is built with:
//!
//! ```toml
//! [dependencies]
//! fanfold = { version = "0.1", features = ["polars"] }
//! polars = "0.55.2"
//! ```
//!
//! | feature | for |
//! |---|---|
//! | `polars` | frames, series and columns in chunks |
//! | `polars-lazy` | files larger than memory, and `LazyFrame`s in chunks |
//! | `tokio` | `async fn` with `kind = "io"` |
//! | `process` | `kind = "process"`, channels that cross to processes, and `shared` values |
//! | `tracing` | tasks inside the span of their caller, and spans of their own on demand |
//! | `metrics` | metrics of all pools for the crate of that name |
//! | `progress` | progress bars |
//! | `trace` | `report`: which worker ran what and when, as a table, a picture or a trace |
//! | `full` | all features |
//!
//! # How it works
//!
//! The code that the attribute emits makes a task or a map of a call and hands it to a pool, whose workers run it.
//! Workers of `kind = "cpu"` steal work from each other; those of `kind = "io"` are threads that the pool starts as
//! jobs come, up to its limit; those of `kind = "process"` are threads that each drive one worker process.
//!
//! A direct call and a map may borrow, although workers run them: neither returns, or unwinds, before the last worker
//! is done with the borrowed values. The same holds for [`scope`]. The compiler checks that arguments and results may
//! move to another thread once, at the types in the function's signature.
//!
//! The layers of the source are described in `docs/architecture.md` of the repository.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "tokio")]
mod async_fn;
mod attribute;
mod channel;
mod chunks;
mod default_pool;
mod error;
#[cfg(feature = "polars")]
mod frame;
#[cfg(all(feature = "polars-lazy", feature = "process", feature = "tokio", feature = "trace"))]
pub mod guide;
mod map;
#[cfg(feature = "metrics")]
pub mod metrics;
mod place;
mod pool;
#[cfg(feature = "process")]
mod process;
#[cfg(feature = "trace")]
mod report;
#[cfg(feature = "process")]
pub mod shared;
mod sys;
mod task;

#[cfg(feature = "tokio")]
pub use async_fn::{AsyncIter, AsyncMap, AsyncStream};
pub use attribute::on_pool::On;
#[cfg(feature = "process")]
pub use attribute::on_process_pool::OnProcesses;
#[cfg(feature = "process")]
pub use attribute::remote::RemoteTask;
pub use channel::{
    ChannelError, Receiver, ReceiverIntoIter, ReceiverIter, SendError, Sender, channel, channel_bounded,
};
pub use channel::{Selectable, select, select_async, select_timeout};
pub use chunks::gather::{Gather, GatherError};
pub use chunks::split::{Split, Zip, zip};
pub use default_pool::{install, map, submit};
pub use error::{Payload, TaskError};
#[cfg(feature = "polars")]
pub use frame::{
    ByGroups, ByRows, ChunkError, ColumnMap, FrameChunks, FromRows, GroupResult, ListingChunks, OnError, ParallelFrame,
    ParallelSeries, Rows, with_polars_threads,
};
#[cfg(feature = "polars-lazy")]
pub use frame::{
    ChunkFn, GroupedScan, ListingScan, ParallelScan, Scan, ScanError, ScanMap, scan_csv, scan_ipc, scan_parquet,
};
pub use map::{Chunks, ChunksMut, Windows, chunks, chunks_mut, enumerate, windows};
pub use map::{Collect, FlatMap, FlatMapStream, Items, Map, MapFold, MapIter, MapStream, PoolItems, TimedMap};
pub use place::Place;
/// The Polars that Fanfold is built with, so that frames cannot be of another version.
///
/// It has the features that Fanfold needs. To enable more of them, name the same version in `Cargo.toml` too.
///
/// # Examples
///
/// ```
/// use fanfold::polars::prelude::*;
/// use fanfold::prelude::*;
///
/// # fn main() -> PolarsResult<()> {
/// let df = DataFrame::new(3, vec![Column::new("x".into(), [1_i64, 2, 3])])?;
/// assert_eq!(df.par_chunks(2).map(Ok)?, df);
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "polars")]
pub use polars;
pub use pool::config::{BadVariable, Configure, ConfigureError, configure};
pub use pool::current_worker::worker_index;
pub use pool::fork_join::join;
pub use pool::listing::{PoolInfo, pools};
pub use pool::runtime_warning::OnBlockedRuntime;
pub use pool::serial::serial;
pub use pool::shutdown::shutdown;
pub use pool::{BuildError, Histogram, Kind as PoolKind, Pending, Pool, ShutdownMode, Stats};
#[cfg(feature = "process")]
pub use process::{Bytes, Wire, init};
#[cfg(feature = "trace")]
pub use report::{FunctionReport, Report, WorkerReport, report};
pub use task::cancel::cancelled;
pub use task::scope::{Scope, ScopedTask, scope};
pub use task::slot::{Outcome, TaskId};
pub use task::{AbortHandle, AsCompleted, CancelOnDrop, Completed, FlatTask, FlattenResult, JoinTimeout, KeyedTask};
pub use task::{Deadline, Priority, Submitter, TrySubmitError};
pub use task::{Task, TaskSet};
pub use task::{Until, as_completed, first, first_async, join_all, join_all_async, wait, wait_async};

#[cfg(feature = "process")]
pub use fanfold_macros::main;
pub use fanfold_macros::parallel;

/// Progress bars: bars of your own beside Fanfold's, lines of text above them, and their style (feature `progress`).
///
/// `.progress("label")` shows the bar of a map, and `progress = "label"` that of an annotated function's maps and
/// chunked calls. [`Map::on_progress`] calls a function instead, without this feature.
#[cfg(feature = "progress")]
pub mod progress {
    pub use crate::map::progress::{bars, println, set_style};
    /// The crate that draws the bars, for its types.
    pub use indicatif;
}

/// What an engine that runs functions on other machines needs (feature `process`). `fanfold-cluster` is one.
///
/// A [`Backend`](backend::Backend) gets encoded calls of functions of `kind = "process"` and `kind = "cluster"`, and
/// [`answer`](backend::answer) runs such a call on the other machine, in a process of the same program.
#[cfg(feature = "process")]
pub mod backend {
    #[cfg(feature = "polars")]
    #[doc(hidden)]
    pub use crate::frame::plan::ChunkStrategy;
    #[doc(hidden)]
    pub use crate::map::{MapFn, Source};
    pub use crate::process::Code;
    pub use crate::process::backend::{
        Answer, Backend, BackendId, CallFailure, Calls, Connect, answer, next_group, register, set_connect, unregister,
        waiting_pool,
    };
    #[cfg(feature = "polars")]
    pub use crate::process::backend::{frame_arguments, frame_of_result, input_error};
}

/// The names that most programs need: `use fanfold::prelude::*`.
pub mod prelude {
    #[cfg(feature = "polars")]
    pub use super::{ChunkError, ParallelFrame, ParallelSeries, with_polars_threads};
    #[cfg(feature = "polars-lazy")]
    pub use super::{ParallelScan, ScanError, scan_csv, scan_ipc, scan_parquet};
    pub use super::{Task, parallel, zip};
}

/// Everything that the code emitted by the attribute names. It changes with the attribute: do not use it by hand.
#[doc(hidden)]
pub mod __private {
    #[cfg(feature = "tokio")]
    pub use crate::async_fn::MapFuture;
    #[cfg(feature = "tokio")]
    pub use crate::attribute::async_call::{
        call_async, call_async_timed, map_async, map_async_on, map_async_timed, map_async_timed_on, submit_async,
        submit_async_within,
    };
    pub use crate::attribute::call::{
        call, call_timed, call_within, map, map_on, map_timed, map_timed_on, on_timeout, submit, submit_when_possible,
        submit_within, try_submit,
    };
    pub use crate::attribute::call_site::{CallSite, CheckedCall};
    pub use crate::attribute::chunks::{
        CutterPair, at_least_one, broadcast, call_chunks, chunking, cutter, gatherer, reducer,
    };
    pub use crate::attribute::cuttable::ChunkStorage;
    pub use crate::attribute::frame_options::{cutter_by, cutter_overlapping, gatherer_overlapping};
    pub use crate::attribute::on_pool::{
        Chunked, Function, Plain, PoolRef, Timed, TimedChunked, call_chunks_on, on, on_chunked, on_timed,
        on_timed_chunked,
    };
    #[cfg(feature = "process")]
    pub use crate::attribute::on_process_pool::{on_processes, on_processes_chunked};
    #[cfg(feature = "process")]
    pub use crate::attribute::process::{call_chunks_process, call_chunks_process_on, call_process};
    #[cfg(feature = "process")]
    pub use crate::attribute::process_map::{ProcessFn, map_process};
    #[cfg(feature = "process")]
    pub use crate::attribute::process_queue::{
        call_chunks_process_within, call_process_within, submit_chunks_process, submit_process,
        submit_process_when_possible, try_submit_process,
    };
    #[cfg(feature = "process")]
    pub use crate::attribute::remote::Remote;
    pub use crate::attribute::retry::{Retry, clone_for_retry, fallible};
    pub use crate::chunks::split::Cut;
    pub use crate::map::progress::WithProgress;
    pub use crate::map::progress::label;
    pub use crate::map::{Closure, Companion, Detach, MapFn, MethodFn, Named, NamedFn, Source, Stage, Then};
    pub use crate::pool::worker_state::with_state;
    #[cfg(feature = "process")]
    pub use crate::process::{
        Code, Constructor, Dispatch, ENTRIES, Entry, HasLocalState, HasNoPlace, HasNoSides, MustBeSerde, Serving,
        construct,
    };
    pub use crate::task::Task;
    pub use crate::task::send_proof::{
        CallProof, SendProof, body, sent, sent_by, sent_by_future, sent_object, sent_result, sent_value, shared,
    };
    #[cfg(feature = "process")]
    pub use linkme;
    pub use std::sync::Arc;
}

/// Runs the README's examples as tests.
#[cfg(all(doctest, feature = "polars"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// Runs the examples of the attribute's options for frames, which need Polars.
#[cfg(all(doctest, feature = "polars"))]
#[doc = include_str!("../../macros/src/frame_options.md")]
struct FrameOptions;
