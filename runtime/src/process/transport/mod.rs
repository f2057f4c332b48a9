//! The transport between a parent and a worker: rings of requests and replies, segments for large blocks, and a
//! doorbell.

pub(crate) mod doorbell;
mod frame_ring;
pub(crate) mod ring;
pub(crate) mod segments;
