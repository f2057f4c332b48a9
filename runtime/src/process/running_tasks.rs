//! The tasks that run in worker processes now: cancelling one of them kills its worker.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::os::pidfd::ChildProcess;
use crate::sys::owner::PerProcess;
use crate::sys::reserve;

/// A task, and the worker that runs it or limiter for it.
type RunningEntry = (usize, Arc<ChildProcess>);

/// Which worker runs which task, for those who cancel one.
static RUNNING: PerProcess<Mutex<Vec<RunningEntry>>> = PerProcess::new();

fn running() -> MutexGuard<'static, Vec<RunningEntry>> {
    RUNNING.get().lock().unwrap_or_else(PoisonError::into_inner)
}

/// A task on a worker; it can be stopped until this is dropped.
pub(crate) struct RunningTask(usize);

impl RunningTask {
    pub(crate) fn enter(task: usize, process: &Arc<ChildProcess>) -> Self {
        reserve::lock_with_room(running, |running| running, 1).push((task, Arc::clone(process)));
        Self(task)
    }
}

impl Drop for RunningTask {
    fn drop(&mut self) {
        let mut running = running();
        let place = running.iter().position(|(task, _)| *task == self.0);
        let entry = place.map(|place| running.swap_remove(place));
        drop(running);
        // The last handle of a process waits for its end: not under the lock.
        drop(entry);
    }
}

/// Kills the worker that runs a task, if one does.
pub(crate) fn kill_worker_of(task: usize) {
    let running = running();
    if let Some((_, process)) = running.iter().find(|(running, _)| *running == task) {
        // Under the lock: while the task is in the list its worker has not gone on to the next one.
        process.kill();
    }
}
