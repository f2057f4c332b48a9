//! [`ThreadStarts`]: the threads of a Tokio runtime that is being built.
//!
//! If a thread after the first one is refused, Tokio panics, and within that panic waits for the first one to end. By
//! itself that never does, so each thread waits for the runtime to be built, and ends if it is not.

use std::panic::resume_unwind;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::sys::mutex;

/// How long a thread waits. A runtime is built within some milliseconds.
const LIMIT: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct ThreadStarts {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    started: usize,
    has_ended: bool,
    has_given_up: bool,
}

impl ThreadStarts {
    /// Counts the calling thread, and waits until the runtime is built. Ends the thread if that takes too long.
    pub(super) fn wait_until_built(&self) {
        let mut state = mutex::lock(&self.state);
        state.started += 1;
        let deadline = Instant::now() + LIMIT;
        while !state.has_ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.has_given_up = true;
                drop(state);
                // No hook is called: nothing has failed in this thread.
                resume_unwind(Box::new("the runtime was not built"));
            }
            state = mutex::wait_timeout(&self.ended, state, left).0;
        }
    }

    /// Lets the threads go on. Returns how many have started, and whether any has given up.
    pub(super) fn end(&self) -> (usize, bool) {
        let mut state = mutex::lock(&self.state);
        state.has_ended = true;
        self.ended.notify_all();
        (state.started, state.has_given_up)
    }
}
