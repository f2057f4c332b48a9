//! [`Interrupt`]: what ends a map from outside. The task that runs the map was cancelled, or the map's pool was.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::error::panics;
use crate::pool::scoped::Abandoned;
use crate::pool::{self, Core};
use crate::task::cancel::CallerTask;

/// Asked before each block of a map. Made by the map's caller, and outlived by the frame that made it.
///
/// A map that a destructor runs while a panic unwinds is never interrupted: a second panic would abort the program.
pub(crate) struct Interrupt<'a> {
    /// The task that the caller runs.
    task: CallerTask,
    /// The pool of that task.
    task_core: Option<Arc<Core>>,
    /// The pool of the map; `None` for the default cpu pool, whose callers run the items of a map themselves.
    map_core: Option<&'a Core>,
    /// Whether a block was refused.
    was_raised: AtomicBool,
}

impl<'a> Interrupt<'a> {
    /// For a map that this thread runs on a pool. `None` if nothing can end it: the commonest map, outside of tasks and
    /// on the default cpu pool, asks nothing.
    #[inline]
    pub(crate) fn of(core: &'a Core) -> Option<Self> {
        let task = CallerTask::here();
        if (task.is_none() && core.is_default_cpu()) || thread::panicking() {
            return None;
        }
        Some(Self {
            task,
            task_core: if task.is_none() { None } else { pool::job_core() },
            map_core: (!core.is_default_cpu()).then_some(core),
            was_raised: AtomicBool::new(false),
        })
    }

    /// Whether no further block may start.
    #[inline]
    pub(crate) fn is_raised(&self) -> bool {
        // Most programs never cancel a pool, and read one flag.
        let is_raised = self.is_task_cancelled() || (pool::is_any_cancelled() && self.is_pool_cancelled());
        if is_raised {
            self.was_raised.store(true, Ordering::Relaxed);
        }
        is_raised
    }

    #[inline]
    fn is_task_cancelled(&self) -> bool {
        // SAFETY: the frame of the map's caller called `here`, and outlives the interrupt.
        unsafe { self.task.is_stop_requested() }
    }

    #[cold]
    fn is_pool_cancelled(&self) -> bool {
        self.task_core.as_deref().is_some_and(Core::is_cancelled) || self.map_core.is_some_and(Core::is_cancelled)
    }

    /// The end of a map: as `done` says if no block was refused. Called when no thread runs a block any more, and before
    /// the results are used: those of refused blocks do not exist.
    ///
    /// # Panics
    ///
    /// If the caller's task was cancelled: it ends as [`TaskError::Cancelled`](crate::TaskError::Cancelled).
    pub(crate) fn end<T>(&self, done: Result<T, Abandoned>) -> Result<T, Abandoned> {
        // Relaxed: the threads that refused a block have left the map since.
        if done.is_ok() && !self.was_raised.load(Ordering::Relaxed) {
            return done;
        }
        if self.is_task_cancelled() || self.task_core.as_deref().is_some_and(Core::is_cancelled) {
            panics::end_cancelled_task();
        }
        Err(Abandoned)
    }
}

/// Ends the task that this thread runs, if it was cancelled. For maps whose items are tasks of their own, and for calls
/// whose worker process was killed.
pub(crate) fn end_cancelled_task() {
    let task = CallerTask::here();
    // SAFETY: this frame called `here`.
    let is_cancelled = || unsafe { task.is_stop_requested() } || pool::is_cancelled_here();
    if !task.is_none() && is_cancelled() && !thread::panicking() {
        panics::end_cancelled_task();
    }
}
