//! Tests of the parent's side against broken and compromised workers.

mod fuzz;
#[cfg(not(miri))]
mod half_written;
mod hostile;
#[cfg(not(miri))]
mod lingering;
