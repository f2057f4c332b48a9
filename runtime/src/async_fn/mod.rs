//! Async functions of `kind = "io"` (feature `tokio`): their maps, their tasks, and the runtime that polls them.
//!
//! A direct call and a map are polled where they are awaited, so they may borrow. A submitted one is a task of the
//! caller's Tokio runtime if there is one, else of Fanfold's own. What waits for a task of a runtime of one
//! thread first sees that a thread drives it.

mod map;
mod runtime;
mod task;
mod timeout;

pub use map::{AsyncIter, AsyncMap, AsyncStream, MapFuture};
pub(crate) use runtime::within;
pub(crate) use task::spawn;
pub(crate) use timeout::TimedFuture;
