//! The tasks that worker processes run now. Cancelling one of them kills its worker process.

use std::sync::{Arc, Mutex, MutexGuard};

use super::os::pidfd::ChildProcess;
use crate::sys::mutex;
use crate::sys::owner::PerProcess;
use crate::sys::reserve;

/// A task, and the worker process that runs it or is being started for it.
type RunningEntry = (usize, Arc<ChildProcess>);

static RUNNING: PerProcess<Mutex<Vec<RunningEntry>>> = PerProcess::new();

fn running() -> MutexGuard<'static, Vec<RunningEntry>> {
    mutex::lock(RUNNING.get())
}

/// An entry in the list of running tasks. Until it is dropped, [`kill_worker_of`] kills the worker of the task.
pub(crate) struct RunningTask(usize);

impl RunningTask {
    /// Adds a task, by the address of its state.
    pub(crate) fn enter(task: usize, process: &Arc<ChildProcess>) -> Self {
        reserve::lock_with_capacity(running, |running| running, 1).push((task, Arc::clone(process)));
        Self(task)
    }
}

impl Drop for RunningTask {
    fn drop(&mut self) {
        let mut running = running();
        let index = running.iter().position(|(task, _)| *task == self.0);
        let entry = index.map(|index| running.swap_remove(index));
        drop(running);
        // Dropping the last handle of a process waits for its exit, so it is dropped after the lock.
        drop(entry);
    }
}

/// Kills the worker process that runs this task, if there is one.
pub(crate) fn kill_worker_of(task: usize) {
    let running = running();
    if let Some((_, process)) = running.iter().find(|(running, _)| *running == task) {
        // The lock is held: a worker leaves the list before it is given its next task.
        process.kill();
    }
}
