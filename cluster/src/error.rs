//! [`ClusterError`]: why a cluster cannot be used.

use std::fmt;

/// Why a cluster cannot be started or reached, or a folder or store cannot be used.
///
/// The text says what happened, where, and what to do. The errors of functions and chunks are
/// [`TaskError`](fanfold::TaskError) and [`ChunkError`](fanfold::ChunkError), as on one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterError(pub(crate) String);

impl ClusterError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for ClusterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ClusterError {}
