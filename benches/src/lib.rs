//! Side-by-side timing: contenders run in turn within one process, in blocks of warm calls, and what counts is the
//! ratio of their medians. Absolute times depend on the machine and on who else uses it; ratios hardly do.
//!
//! The blocks are not interleaved call by call: a contender whose workers spin for a while after their work would
//! hand them, warm, to the next one.
//!
//! Data flows one way: a [`Contest`] gives an [`Outcome`], which is checked against its bars and kept in a [`Report`];
//! the report's file is drawn ([`plot`]) and put on a page ([`page`]).

mod cell;
mod contest;
mod cpu_time;
mod load;
mod machine;
mod outcome;
pub mod page;
pub mod plot;
mod report;

pub use cell::Cell;
pub use contest::Contest;
pub use cpu_time::{cpu_time, others_cpu_time};
pub use machine::Machine;
pub use outcome::{Bar, Outcome, Row, Standing};
pub use report::Report;

/// What Fanfold's contenders are called, or how their names begin.
pub const FANFOLD: &str = "fanfold";

/// What a map may cost above the best peer, whatever it does, in nanoseconds.
pub const ALLOWANCE: f64 = 150.0;
