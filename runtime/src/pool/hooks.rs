//! The hooks that each thread of a pool runs first and last: `Pool::on_start` and `Pool::on_stop`.

use std::sync::{Arc, Mutex};

use super::{Core, current_worker, worker_state};
use crate::sys::inline_fn::InlineFn;
use crate::sys::mutex;
use crate::sys::unwind;

/// The hooks of a pool that is being built.
#[derive(Debug)]
pub(crate) struct Hooks {
    pub(super) start: Hook,
    pub(super) stop: Hook,
}

impl Hooks {
    pub(super) const fn none() -> Self {
        Self { start: Hook::none(), stop: Hook::none() }
    }

    /// The hooks for the threads, which may outlive the [`Pool`](crate::Pool).
    pub(super) fn share(&self) -> SharedHooks {
        SharedHooks { start: self.start.share(), stop: self.stop.share() }
    }
}

/// A hook, or none. It is stored inline until the pool starts: a `const fn` cannot allocate.
#[derive(Debug)]
pub(crate) struct Hook(Mutex<HookState>);

#[derive(Debug)]
struct HookState {
    inline: Option<InlineFn>,
    /// Set once the pool is started. A start that failed is tried again with the same hook.
    shared: Option<Arc<InlineFn>>,
}

impl Hook {
    const fn none() -> Self {
        Self(Mutex::new(HookState { inline: None, shared: None }))
    }

    pub(super) const fn new<F: Fn() + Send + Sync + 'static>(hook: F) -> Self {
        Self(Mutex::new(HookState { inline: Some(InlineFn::new(hook)), shared: None }))
    }

    fn share(&self) -> Option<Arc<InlineFn>> {
        let mut state = mutex::lock(&self.0);
        if let Some(hook) = state.inline.take() {
            state.shared = Some(Arc::new(hook));
        }
        state.shared.clone()
    }
}

/// The hooks of a running pool.
#[derive(Clone, Debug)]
pub(crate) struct SharedHooks {
    start: Option<Arc<InlineFn>>,
    stop: Option<Arc<InlineFn>>,
}

impl SharedHooks {
    pub(super) fn is_empty(&self) -> bool {
        self.start.is_none() && self.stop.is_none()
    }

    /// The same hooks for another pool.
    #[cfg(feature = "polars")]
    pub(super) fn to_hooks(&self) -> Hooks {
        let hook = |shared: &Option<_>| Hook(Mutex::new(HookState { inline: None, shared: shared.clone() }));
        Hooks { start: hook(&self.start), stop: hook(&self.stop) }
    }
}

impl Core {
    /// Whether only the pool's own threads may run its jobs, because no other thread has run its hooks.
    #[inline]
    pub(crate) fn has_hooks(&self) -> bool {
        self.has_hooks
    }

    pub(super) fn has_start_hook(&self) -> bool {
        self.hooks.start.is_some()
    }

    /// Runs the start hook, first on each thread.
    pub(super) fn on_start(&self) {
        run_hook(self.hooks.start.as_deref());
    }

    /// Drops the worker's state and runs the stop hook, last on each thread.
    pub(super) fn on_stop(&self) {
        worker_state::drop_all();
        run_hook(self.hooks.stop.as_deref());
        #[cfg(feature = "process")]
        self.process_slots.close();
        current_worker::exit();
    }
}

/// Runs a user's hook. A panic in it is reported by the panic hook, and the worker goes on.
fn run_hook(hook: Option<&InlineFn>) {
    if let Some(hook) = hook {
        unwind::contain(|| hook.call());
    }
}
