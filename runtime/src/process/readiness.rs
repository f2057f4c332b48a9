//! [`Readiness`]: how an async task waits for a socket, in any async runtime.
//!
//! One thread waits for the sockets of all tasks, and wakes each task whose socket is ready. It starts with the first
//! wait. Each wait uses a duplicate of the socket's descriptor, so that several tasks may wait for one socket.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::task::Waker;

use super::os::{Handle, Poller};
use crate::sys::owner::PerProcess;
use crate::sys::{fork, mutex, thread, unwind};

/// A task's wait for a socket. Dropping it ends the wait.
pub(crate) struct Readiness {
    reactor: &'static Reactor,
    socket: Handle,
    key: u64,
}

struct Reactor {
    poller: Poller,
    /// The wakers of waiting tasks, by the keys of their sockets.
    wakers: Mutex<HashMap<u64, Waker>>,
    /// The fork count at its creation.
    forks: u32,
    /// Whether the thread has started. Changed under the lock of [`Reactor::get`].
    has_thread: AtomicBool,
}

impl Readiness {
    /// Wakes the task once the socket is readable or writable, or is closed.
    pub(super) fn watch(socket: &Handle, write: bool, waker: Waker) -> io::Result<Self> {
        static NEXT_KEY: AtomicU64 = AtomicU64::new(0);
        let this = Self {
            reactor: Reactor::get()?,
            socket: socket.try_clone()?,
            key: NEXT_KEY.fetch_add(1, Ordering::Relaxed),
        };
        this.reactor.wakers().insert(this.key, waker);
        this.reactor.poller.add(&this.socket, write, this.key)?;
        Ok(this)
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        // In a forked process the poller is shared with the parent, so it is left alone.
        if self.reactor.forks == fork::generation() {
            self.reactor.poller.remove(&self.socket, self.key);
        }
        // Dropping a waker runs foreign code, so the lock is released first.
        let waker = self.reactor.wakers().remove(&self.key);
        drop(waker);
    }
}

impl Reactor {
    /// The reactor of this process, which is never freed.
    fn get() -> io::Result<&'static Self> {
        // A forked process does not have the thread, and starts its own.
        static REACTOR: PerProcess<Mutex<Option<&Reactor>>> = PerProcess::new();
        let mut reactor = mutex::lock(REACTOR.get());
        let forks = fork::generation();
        let current = match *reactor {
            Some(current) if current.forks == forks => current,
            _ => {
                let poller = Poller::new()?;
                let new = Self { poller, wakers: Mutex::default(), forks, has_thread: AtomicBool::new(false) };
                // Kept if its thread is refused, so that tries do not use up descriptors.
                *reactor.insert(Box::leak(Box::new(new)))
            }
        };
        if !current.has_thread.load(Ordering::Relaxed) {
            thread::spawn("fanfold-channels".to_owned(), None, || current.work())?;
            current.has_thread.store(true, Ordering::Relaxed);
        }
        Ok(current)
    }

    fn wakers(&self) -> MutexGuard<'_, HashMap<u64, Waker>> {
        mutex::lock(&self.wakers)
    }

    fn work(&self) {
        while let Ok(ready) = self.poller.wait() {
            for key in ready {
                let waker = self.wakers().remove(&key);
                // A panic in a waker must not end the thread that wakes the others.
                unwind::contain(|| waker.into_iter().for_each(Waker::wake));
            }
        }
    }
}
