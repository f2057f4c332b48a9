//! The attributes of parameters: `#[chunk]` and `#[worker]`.

use syn::{Attribute, FnArg, PatType};

/// The attribute that marks a chunked argument.
pub(crate) const CHUNK: &str = "chunk";

/// The attribute that marks a worker's state.
pub(crate) const WORKER: &str = "worker";

pub(crate) fn is_chunk(attr: &Attribute) -> bool {
    attr.path().is_ident(CHUNK)
}

pub(crate) fn has(argument: &PatType, mark: &str) -> bool {
    argument.attrs.iter().any(|attr| attr.path().is_ident(mark))
}

pub(crate) fn typed(input: &FnArg) -> Option<&PatType> {
    match input {
        FnArg::Typed(argument) => Some(argument),
        FnArg::Receiver(_) => None,
    }
}
