//! Tests of the parent's side against broken and compromised workers.

mod fuzz;
#[cfg(not(miri))]
mod half_written;
#[cfg(not(fanfold_portable))]
mod hostile;
#[cfg(not(any(miri, fanfold_portable)))]
mod lingering;
