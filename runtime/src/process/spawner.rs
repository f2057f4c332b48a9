//! The one thread that starts workers. The system ends a worker when the thread that started it ends, and this one ends
//! with the process.
//!
//! The thread also reaps workers that end while they are idle, when nobody waits for them. While workers live, it asks
//! the kernel once a second, a system call for each worker. Waiting for all pidfds at once would cost a descriptor to
//! be woken by for each start, and does not work on kernels without pidfds.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::os::pidfd::{ChildProcess, Reaper};
use super::os::refusal::{Operation, RefusedOperation};
use crate::sys::owner::PerProcess;

/// How long a worker that has ended may stay a zombie.
const REAP_INTERVAL: Duration = Duration::from_secs(1);

type SpawnRequest = (Command, Sender<io::Result<ChildProcess>>);

/// Starts a process; it comes through the channel. One that nobody receives is killed.
pub(super) fn spawn(command: Command) -> io::Result<Receiver<io::Result<ChildProcess>>> {
    // The child of a fork does not have the thread, and starts one of its own.
    static REQUESTS: PerProcess<Mutex<Option<Sender<SpawnRequest>>>> = PerProcess::new();
    let (reply, started) = channel();
    let mut requests = REQUESTS.get().lock().unwrap_or_else(PoisonError::into_inner);
    let requests = match &mut *requests {
        Some(requests) => requests,
        none => none.insert(start().map_err(|error| RefusedOperation::error(Operation::Thread, error))?),
    };
    requests.send((command, reply)).map_err(|_| thread_ended())?;
    Ok(started)
}

/// The error where the thread is thread_ended.
pub(super) fn thread_ended() -> io::Error {
    io::Error::other("the thread that starts worker processes has ended")
}

fn start() -> io::Result<Sender<SpawnRequest>> {
    let (requests, received) = channel::<SpawnRequest>();
    std::thread::Builder::new().name("fanfold-spawner".into()).spawn(move || serve(&received))?;
    Ok(requests)
}

/// Starts what is received, and reaps what has ended.
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

/// Runs the command. It holds the worker's end of the socket, which is closed here when this returns: the other end is
/// closed to its reader only when the last holder has thread_ended.
fn run(mut command: Command) -> io::Result<ChildProcess> {
    // Where `SIGCHLD` is ignored, the standard library may panic as it cannot wait for a child that failed to start.
    let spawned = catch_unwind(AssertUnwindSafe(|| command.spawn()));
    let spawned = spawned.unwrap_or_else(|_| Err(io::Error::other("it could not be waited for")));
    let child = spawned.map_err(|error| RefusedOperation::error(Operation::Program, error))?;
    ChildProcess::new(child.id()).map_err(|error| RefusedOperation::error(Operation::Pidfd, error))
}
