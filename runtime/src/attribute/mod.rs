//! The functions that the code emitted by `#[parallel]` calls: a call site, and an entry for each way to run it.

#[cfg(feature = "tokio")]
pub(crate) mod async_call;
pub(crate) mod call;
pub(crate) mod call_site;
pub(crate) mod chunks;
pub(crate) mod cuttable;
pub(crate) mod frame_options;
#[cfg(feature = "polars")]
pub(crate) mod frames;
pub(crate) mod on_pool;
#[cfg(feature = "process")]
pub(crate) mod on_process_pool;
#[cfg(feature = "process")]
pub(crate) mod process;
#[cfg(feature = "process")]
pub(crate) mod process_map;
#[cfg(feature = "process")]
pub(crate) mod process_queue;
#[cfg(feature = "process")]
mod process_task;
#[cfg(feature = "process")]
pub(crate) mod remote;
pub(crate) mod retry;
