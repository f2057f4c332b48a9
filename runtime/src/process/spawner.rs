//! The spawner: one thread that starts all worker processes, and reaps those that exit while they are idle.
//!
//! The kernel kills a worker when the thread that started it ends (`PR_SET_PDEATHSIG`). The spawner thread ends only
//! with its process.
//!
//! While workers live, the thread asks the kernel once a second whether one has exited, by one system call for each
//! worker. Waiting for all pidfds at once would need a descriptor to wake the thread for each start, and kernels
//! without pidfds could not do it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use super::os::refusal::{Operation, RefusedOperation};
use super::os::{ChildProcess, Reaper};
use crate::sys::mutex;
use crate::sys::owner::PerProcess;

/// The time that a worker that has exited may stay a zombie.
const REAP_INTERVAL: Duration = Duration::from_secs(1);

type SpawnRequest = (Command, Sender<io::Result<ChildProcess>>);

/// Starts a process, and sends it through the returned channel. If the receiver is gone, the process is killed.
pub(super) fn spawn(command: Command) -> io::Result<Receiver<io::Result<ChildProcess>>> {
    // A forked process does not have the thread, and starts its own.
    static REQUESTS: PerProcess<Mutex<Option<Sender<SpawnRequest>>>> = PerProcess::new();
    let (reply, started) = channel();
    let mut requests = mutex::lock(REQUESTS.get());
    let requests = match &mut *requests {
        Some(requests) => requests,
        none => none.insert(start().map_err(|error| RefusedOperation::error(Operation::Thread, error))?),
    };
    requests.send((command, reply)).map_err(|_| thread_ended())?;
    Ok(started)
}

/// The error if the spawner thread has ended.
pub(super) fn thread_ended() -> io::Error {
    io::Error::other("the thread that starts worker processes has ended")
}

fn start() -> io::Result<Sender<SpawnRequest>> {
    let (requests, received) = channel::<SpawnRequest>();
    crate::sys::thread::spawn("fanfold-spawner".to_owned(), None, move || serve(&received))?;
    Ok(requests)
}

/// Starts the requested processes, and reaps those that have exited.
fn serve(received: &Receiver<SpawnRequest>) {
    let mut reapers: Vec<Reaper> = Vec::new();
    loop {
        let request = match reapers.as_slice() {
            [] => received.recv().map_err(|_| RecvTimeoutError::Disconnected),
            _ => received.recv_timeout(REAP_INTERVAL),
        };
        match request {
            Ok((command, reply)) => {
                let started = run(command);
                reapers.extend(started.iter().map(ChildProcess::reaper));
                let _ = reply.send(started);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        reapers.retain(Reaper::is_running);
    }
}

/// Runs the command. The command holds the worker's end of the socket. It is dropped here, so that the parent sees the
/// socket closed when the worker exits.
fn run(mut command: Command) -> io::Result<ChildProcess> {
    // If `SIGCHLD` is ignored, the standard library panics when it cannot wait for a child whose start failed.
    let spawned = catch_unwind(AssertUnwindSafe(|| command.spawn()));
    let spawned = spawned.unwrap_or_else(|_| Err(io::Error::other("it could not be waited for")));
    let child = spawned.map_err(|error| RefusedOperation::error(Operation::Program, error))?;
    ChildProcess::new(child).map_err(|error| RefusedOperation::error(Operation::Pidfd, error))
}
