//! What a parent and its worker share: rings for requests and replies, segments for large blocks, a doorbell for both.

pub(crate) mod doorbell;
pub(crate) mod ring;
pub(crate) mod segments;
