//! Splitting arguments into chunks, and gathering the results of chunks.

pub(crate) mod gather;
pub(crate) mod split;
pub(crate) mod type_eq;
