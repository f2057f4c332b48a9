//! `async fn` with `kind = "io"` (feature `tokio`): maps, tasks, and the runtime that polls them.
//!
//! A direct call and a map are polled where they are awaited, so they may borrow. A submitted call is a task of the
//! caller's Tokio runtime, or of Fanfold's own outside of one. A current-thread runtime runs tasks only while a thread
//! drives it, so a thread that waits for such a task drives the runtime first.

mod map;
mod runtime;
mod task;
mod thread_starts;
mod timeout;

pub use map::{AsyncIter, AsyncMap, AsyncStream, MapFuture};
pub(crate) use runtime::within;
pub(crate) use task::spawn;
pub(crate) use timeout::TimedFuture;
