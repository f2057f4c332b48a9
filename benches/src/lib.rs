//! Comparative timing: contenders take turns within one process, in blocks of warm calls, and are compared by the ratio
//! of their medians. Absolute times depend on the machine and its load; ratios hardly do.
//!
//! Calls are not interleaved one by one: workers that spin for a while after their work would still be awake when the
//! next contender starts.
//!
//! Data flows one way: a [`Contest`] gives an [`Outcome`], which is checked against its targets and stored in a
//! [`Report`]; the report's file is drawn ([`plot`]) and written into a page ([`page`]).

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

/// The name, or the prefix of the names, of Fanfold's contenders.
pub const FANFOLD: &str = "fanfold";

/// Nanoseconds that a map may take beyond the fastest peer.
pub const ALLOWANCE: f64 = 150.0;
