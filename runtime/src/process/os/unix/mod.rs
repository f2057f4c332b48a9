//! What Linux and the portable transport on Unix have in common.

mod file_limit;
mod module;
mod process;
mod signals;
mod standard_input;

pub(crate) use file_limit::*;
pub(crate) use module::*;
pub(crate) use process::*;
pub(crate) use signals::*;
pub(crate) use standard_input::*;
