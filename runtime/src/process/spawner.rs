//! The one thread that starts workers. The system ends a worker when the thread that started it ends, and this one ends
//! with the process.
//!
//! The thread also reaps workers that end while they are idle, when nobody waits for them. While workers live, it asks the
//! kernel once a second, a system call for each worker. Waiting for all pidfds at once would cost a descriptor to be woken
//! by for each start, and does not work on kernels without pidfds.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::os::pidfd::{Process, Watched};
use super::os::refusal::{Refused, Step};
use crate::sys::owner::PerProcess;

/// How long a worker that has ended may stay a zombie.
const PERIOD: Duration = Duration::from_secs(1);

type Order = (Command, Sender<io::Result<Process>>);

/// Starts a process; it comes through the channel. One that nobody receives is killed.
pub(super) fn spawn(command: Command) -> io::Result<Receiver<io::Result<Process>>> {
    // The child of a fork does not have the thread, and starts one of its own.
    static ORDERS: PerProcess<Mutex<Option<Sender<Order>>>> = PerProcess::new();
    let (reply, started) = channel();
    let mut orders = ORDERS.get().lock().unwrap_or_else(PoisonError::into_inner);
    let orders = match &mut *orders {
        Some(orders) => orders,
        none => none.insert(start().map_err(|error| Refused::error(Step::Thread, error))?),
    };
    orders.send((command, reply)).map_err(|_| gone())?;
    Ok(started)
}

/// The error where the thread is gone.
pub(super) fn gone() -> io::Error {
    io::Error::other("the thread that starts worker processes is gone")
}

fn start() -> io::Result<Sender<Order>> {
    let (orders, ordered) = channel::<Order>();
    std::thread::Builder::new().name("fanfold-spawner".into()).spawn(move || serve(&ordered))?;
    Ok(orders)
}

/// Starts what is ordered, and reaps what has ended.
fn serve(ordered: &Receiver<Order>) {
    let mut watched: Vec<Watched> = Vec::new();
    loop {
        let order = match watched.as_slice() {
            [] => ordered.recv().map_err(|_| RecvTimeoutError::Disconnected),
            _ => ordered.recv_timeout(PERIOD),
        };
        match order {
            Ok((command, reply)) => {
                let started = run(command);
                watched.extend(started.iter().map(Process::watched));
                let _ = reply.send(started);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        watched.retain(Watched::runs);
    }
}

/// Runs the command. It holds the worker's end of the socket, which is closed here when this returns: the other end is
/// closed to its reader only when the last holder has gone.
fn run(mut command: Command) -> io::Result<Process> {
    // Where `SIGCHLD` is ignored, the standard library may panic as it cannot wait for a child that failed to start.
    let spawned = catch_unwind(AssertUnwindSafe(|| command.spawn()));
    let spawned = spawned.unwrap_or_else(|_| Err(io::Error::other("it could not be waited for")));
    let child = spawned.map_err(|error| Refused::error(Step::Program, error))?;
    Process::new(child.id()).map_err(|error| Refused::error(Step::Pidfd, error))
}
