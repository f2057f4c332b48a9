//! The one thread that starts workers. The system ends a worker when the thread that started it ends, and this one ends
//! with the process.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};

use crate::process::os::pidfd::Process;
use crate::process::os::refusal::{Refused, Step};
use crate::sys::owner::PerProcess;

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
    std::thread::Builder::new().name("fanfold-spawner".into()).spawn(move || {
        for (command, reply) in ordered {
            let _ = reply.send(run(command));
        }
    })?;
    Ok(orders)
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
