//! The lowest layer: clock, cores, fork detection, locks, thread parking, containers. It knows neither tasks nor pools.

pub(crate) mod clock;
pub(crate) mod cpu;
pub(crate) mod drop_all;
pub(crate) mod fork;
pub(crate) mod inline_fn;
pub(crate) mod mutex;
#[cfg(feature = "process")]
pub(crate) mod owner;
pub(crate) mod park;
pub(crate) mod reserve;
pub(crate) mod small_vec;
pub(crate) mod thread;
pub(crate) mod try_once;
pub(crate) mod unwind;
