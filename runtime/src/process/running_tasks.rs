//! The tasks that worker processes run now. Cancelling one of them kills its worker processes: a map inside a task has
//! several.

use std::sync::{Arc, Mutex, MutexGuard};

use super::os::ChildProcess;
use crate::sys::mutex;
use crate::sys::owner::PerProcess;
use crate::sys::reserve;

/// A task, and the worker process that runs it or is being started for it.
type RunningEntry = (usize, Arc<ChildProcess>);

static RUNNING: PerProcess<Mutex<Vec<RunningEntry>>> = PerProcess::new();

fn running() -> MutexGuard<'static, Vec<RunningEntry>> {
    mutex::lock(RUNNING.get())
}

/// An entry in the list of running tasks. Until it is dropped, [`kill_workers_of`] kills this worker of the task.
pub(crate) struct RunningTask {
    task: usize,
    /// The address of the process' handle, which the list keeps.
    process: *const ChildProcess,
}

impl RunningTask {
    /// Adds a task, by the address of its state.
    pub(crate) fn enter(task: usize, process: &Arc<ChildProcess>) -> Self {
        reserve::lock_with_capacity(running, |running| running, 1).push((task, Arc::clone(process)));
        Self { task, process: Arc::as_ptr(process) }
    }
}

impl Drop for RunningTask {
    fn drop(&mut self) {
        let mut running = running();
        let index =
            running.iter().position(|(task, process)| *task == self.task && Arc::as_ptr(process) == self.process);
        let entry = index.map(|index| running.swap_remove(index));
        drop(running);
        // Dropping the last handle of a process waits for its exit, so it is dropped after the lock.
        drop(entry);
    }
}

/// Kills the worker processes that run calls of this task.
pub(crate) fn kill_workers_of(task: usize) {
    // The lock is held: a worker leaves the list before it is given its next task.
    for (_, process) in running().iter().filter(|(running, _)| *running == task) {
        process.kill();
    }
}
