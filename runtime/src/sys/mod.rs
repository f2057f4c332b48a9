//! Below all of Fanfold: clocks, cores, forks, parking, and containers. Nothing here knows of tasks or pools.

pub(crate) mod clock;
pub(crate) mod cpu;
pub(crate) mod drop_all;
pub(crate) mod fork;
#[cfg(feature = "process")]
pub(crate) mod owner;
pub(crate) mod park;
pub(crate) mod reserve;
pub(crate) mod small_vec;
pub(crate) mod try_once;
pub(crate) mod unwind;
