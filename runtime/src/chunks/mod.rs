//! Cutting arguments into chunks, and gathering what the chunks give.

pub(crate) mod gather;
pub(crate) mod split;
pub(crate) mod type_eq;
