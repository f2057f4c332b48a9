//! The one thread that starts workers. The system ends a worker when the thread that started it ends, and this one ends
//! with the process.

use std::io;
use std::process::{Child, Command};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};

use super::owner::PerProcess;

type Order = (Command, Sender<io::Result<Child>>);

/// Starts a process.
pub(super) fn spawn(command: Command) -> io::Result<Child> {
    // The child of a fork does not have the thread, and starts one of its own.
    static ORDERS: PerProcess<Mutex<Option<Sender<Order>>>> = PerProcess::new();
    let (reply, started) = channel();
    let mut orders = ORDERS.get().lock().unwrap_or_else(PoisonError::into_inner);
    let orders = match &mut *orders {
        Some(orders) => orders,
        none => none.insert(start()?),
    };
    let gone = || io::Error::other("the thread that starts worker processes is gone");
    orders.send((command, reply)).map_err(|_| gone())?;
    started.recv().map_err(|_| gone())?
}

fn start() -> io::Result<Sender<Order>> {
    let (orders, ordered) = channel::<Order>();
    std::thread::Builder::new().name("fanfold-spawner".into()).spawn(move || {
        for (mut command, reply) in ordered {
            let child = command.spawn();
            // It holds the worker's end of the socket, and whoever reads the other end waits for the last one.
            drop(command);
            let _ = reply.send(child);
        }
    })?;
    Ok(orders)
}
