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
//! # A tour
//!
//! - [`macro@parallel`] is the attribute: `kind = "cpu"` computes, `kind = "io"` waits, `chunks = N` cuts the argument;
//!   `timeout`, `retries` and per-worker state (`init`) are options of it.
//! - [`Task`] is a call that runs elsewhere: [`join`](Task::join) it, `.await` it, [`cancel`](Task::cancel) it, or drop
//!   it to let it go on.
//! - [`as_completed`], [`wait`], [`join_all`] and [`first`] wait for several tasks; [`scope`] submits tasks that borrow.
//! - [`Map`] runs a function on many items, and stays on the calling thread while sharing would not pay. End it with
//!   `collect`, `for_each`, `reduce` or `sum`, or iterate it: lazily, so many items in flight at most.
//! - [`Split`] is what can be cut into chunks, [`Gather`] what chunk results are put together into; both can be
//!   implemented for types of your own.
//! - [`Pool`] is where functions run: a default one for each kind, `static` ones and owned ones. [`configure`], or
//!   `FANFOLD_CPU_THREADS`, `FANFOLD_IO_THREADS` and `FANFOLD_PROCESSES`, set the default ones' sizes;
//!   `FANFOLD_SERIAL=1` (or `true`) runs everything on the caller's thread, for debugging.
//! - With the feature `tokio`, an `async fn` of `kind = "io"` is awaited as before, submitted to a runtime, and mapped
//!   over many items with so many futures in flight at most (`AsyncMap`).
//! - With the feature `process`, `kind = "process"` runs functions in worker processes, which may crash and can be
//!   killed: `init` says how programs start them, `channel` connects functions in processes and on threads.
//! - With the feature `tracing`, tasks and maps run inside the span that they were called in.
//! - With the feature `polars`, `ParallelFrame` cuts a `DataFrame` into chunks, by rows or between groups, maps them,
//!   and stacks the results; or maps it row by row, as values of a type of yours. With `polars-lazy`, `scan_parquet` and
//!   its like do so with files larger than memory.
//! - [`TaskError`] says why a task has no result.
//!
//! # Features
//!
//! None is on by default. For frames, in `Cargo.toml`, with the Polars that Fanfold is built with:
//!
//! ```toml
//! [dependencies]
//! fanfold = { path = "../fanfold/runtime", features = ["polars"] } # the folder `runtime` of a checkout
//! polars = "0.55.2"
//! ```
//!
//! | feature | for |
//! |---|---|
//! | `polars` | frames, series and columns in chunks |
//! | `polars-lazy` | files larger than memory, and `LazyFrame`s in chunks |
//! | `tokio` | `async fn` with `kind = "io"` |
//! | `process` | `kind = "process"`, and `channel` |
//! | `tracing` | tasks inside the span of their caller |
//! | `progress` | progress bars |
//! | `full` | all of them |
//!
//! # How it works
//!
//! Data flows one way: the attribute's code calls an entry (`call.rs`), which makes a task or a map, which goes to
//! a pool, whose workers run it, and whose results are gathered. A call that waits may lend what it borrows to the
//! workers, because it does not return before all of them have let go; one small module (`lend.rs`) holds that
//! proof. Arguments and results are checked once, where the user wrote their types (`sent.rs`).
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "tokio")]
mod async_fn;
mod attribute;
#[cfg(feature = "process")]
mod channel;
mod chunks;
mod error;
#[cfg(feature = "polars")]
mod frame;
mod map;
mod pool;
#[cfg(feature = "process")]
mod process;
mod sys;
mod task;

#[cfg(feature = "tokio")]
pub use async_fn::{AsyncIter, AsyncMap, AsyncStream};
#[cfg(feature = "process")]
pub use channel::{ChannelError, Receiver, Sender, channel};
pub use chunks::gather::{Gather, GatherError};
pub use chunks::split::{Split, Zip, zip};
pub use error::{Payload, TaskError};
#[cfg(feature = "polars")]
pub use frame::{
    ByGroups, ByRows, ChunkError, ColumnMap, FrameChunks, FromRows, ParallelFrame, ParallelSeries, Rows,
    with_polars_threads,
};
#[cfg(feature = "polars-lazy")]
pub use frame::{ParallelScan, Scan, ScanError, ScanMap, scan_csv, scan_ipc, scan_parquet};
pub use map::{Collect, Items, Map, MapIter, PoolItems, TimedMap};
pub use pool::config::{BadVariable, Configure, ConfigureError, configure};
pub use pool::shutdown::shutdown;
pub use pool::{BuildError, Pending, Pool, Stats};
#[cfg(feature = "process")]
pub use process::{Bytes, Wire, init};
pub use task::cancel::cancelled;
pub use task::scope::{Scope, ScopedTask, scope};
pub use task::slot::{Outcome, TaskId};
pub use task::wait::{AsCompleted, Completed, Until, as_completed, first, join_all, wait};
pub use task::{JoinTimeout, Task};

#[cfg(feature = "process")]
pub use fanfold_macros::main;
pub use fanfold_macros::parallel;

/// What most programs need: `use fanfold::prelude::*`.
pub mod prelude {
    #[cfg(feature = "polars")]
    pub use super::{ParallelFrame, ParallelSeries, with_polars_threads};
    #[cfg(feature = "polars-lazy")]
    pub use super::{ParallelScan, scan_csv, scan_ipc, scan_parquet};
    pub use super::{Task, parallel, zip};
}

/// The whole vocabulary of the attribute's code. Not for use by hand: it changes with the attribute.
#[doc(hidden)]
pub mod __private {
    #[cfg(feature = "tokio")]
    pub use crate::async_fn::{AsyncMap, MapFuture};
    #[cfg(feature = "tokio")]
    pub use crate::attribute::async_call::{
        call_async, call_async_timed, map_async, map_async_on, map_async_timed, map_async_timed_on, submit_async,
    };
    pub use crate::attribute::call::{call, call_timed, map, map_on, map_timed, map_timed_on, on_timeout, submit};
    pub use crate::attribute::call_site::{CallSite, CheckedCall};
    pub use crate::attribute::chunks::{
        CutterPair, at_least_one, broadcast, call_chunks, chunking, cutter, gatherer, reducer,
    };
    pub use crate::attribute::cuttable::ChunkStorage;
    pub use crate::attribute::frame_options::{cutter_by, cutter_overlapping, gatherer_overlapping};
    #[cfg(feature = "process")]
    pub use crate::attribute::process::{call_chunks_process, call_process, map_process, submit_process};
    #[cfg(feature = "process")]
    pub use crate::attribute::remote::Remote;
    pub use crate::attribute::retry::{Retry, clone_for_retry, fallible};
    pub use crate::chunks::split::Cut;
    pub use crate::map::progress::label;
    pub use crate::map::{Closure, Detach, Items, Map, MapFn, On, Source, TimedMap};
    pub use crate::pool::Pool;
    pub use crate::pool::worker_state::with_state;
    #[cfg(feature = "process")]
    pub use crate::process::{
        Code, Constructor, Dispatch, ENTRIES, Entry, HasNoPlace, HasNoSides, HasOwnWay, HasPlace, HasSides,
        MustBeSerde, Serving, construct,
    };
    pub use crate::task::Task;
    pub use crate::task::send_proof::{
        CallProof, SendProof, body, sent, sent_by, sent_by_future, sent_object, sent_result, sent_value, shared,
    };
    #[cfg(feature = "process")]
    pub use linkme;
    pub use std::sync::Arc;
}

/// The README's example is a test.
#[cfg(all(doctest, feature = "polars"))]
#[doc = include_str!("../../README.md")]
struct Readme;
