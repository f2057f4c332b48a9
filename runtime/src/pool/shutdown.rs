//! Shutdown: [`shutdown`] for all pools, and for one pool closing it, draining its queue and joining its threads.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::current_worker::{self, blocking_section, blocking_section_until};
use super::{Core, Kind, Pool, blocking, cpu, registry};
use crate::sys::mutex;
use crate::sys::unwind;

/// What becomes of queued tasks when pools are shut down with [`Pool::shutdown`](crate::Pool::shutdown) or [`shutdown`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    /// They run.
    Run,
    /// They end as [`TaskError::Cancelled`](crate::TaskError::Cancelled), and running tasks are asked to stop.
    Cancel,
}

/// Does to every pool that has started what [`Pool::shutdown`](crate::Pool::shutdown) does to one. With a [`Duration`]
/// their queued tasks have that time, all together; what is left then is cancelled, and it returns whether all have ended
/// in time. With [`Pending`] it waits until running tasks have ended.
///
/// The threads of `static` pools end with the process, in the middle of what they run: call this at the end of `main`
/// where that matters. Later calls find the pools closed. A pool that is first used after this call starts as usual.
/// Spawned futures of `async fn`s have the time, too; nothing else ends them.
///
/// It may be called in an exit handler, and on a worker: it does not wait for the task that calls it. In a forked child
/// the parent's pools have no threads and are left alone.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use fanfold::Pool;
///
/// let task = Pool::io_default().submit(|| 1);
/// assert!(fanfold::shutdown(Duration::from_secs(10)));
/// assert!(task.is_finished());
/// assert!(Pool::io_default().submit(|| 2).join().is_err()); // closed
/// ```
#[allow(clippy::must_use_candidate, reason = "a program that ends has no use for the answer")]
pub fn shutdown<M: ShutdownMode>(mode: M) -> M::Output {
    mode.shut_down_all()
}

/// How [`Pool::shutdown`] and [`shutdown`] end pools: [`Pending`], or the time that their tasks have.
pub trait ShutdownMode: sealed::Sealed {
    /// What `shutdown` returns.
    type Output;
    #[doc(hidden)]
    fn shut_down(self, pool: &Pool) -> Self::Output;
    #[doc(hidden)]
    fn shut_down_all(self) -> Self::Output;
}

impl ShutdownMode for Pending {
    type Output = ();
    fn shut_down(self, pool: &Pool) {
        pool.core().close_and_join(self == Pending::Cancel);
    }
    fn shut_down_all(self) {
        let all = registry::all();
        // All are told before the first wait: a task may wait for one of another pool.
        if self == Pending::Cancel {
            all.iter().for_each(|core| core.kill());
        }
        all.iter().for_each(|core| core.close_and_join(self == Pending::Cancel));
    }
}

/// Queued and running tasks have this time, together. What is left then is cancelled, as by [`Pool::kill`]. Returns
/// whether all have ended in time.
impl ShutdownMode for Duration {
    type Output = bool;
    fn shut_down(self, pool: &Pool) -> bool {
        let core = pool.core();
        let deadline = Instant::now().checked_add(self);
        // Not `all`, which stops at the first `false`: both must be closed.
        let drained = core.and_frames().filter(|core| !core.drain(deadline)).count() == 0;
        if !drained {
            core.kill();
        }
        core.wait_for_exits(deadline);
        drained
    }
    fn shut_down_all(self) -> bool {
        let deadline = Instant::now().checked_add(self);
        let all = registry::all();
        // Not `any`, which stops at the first: every pool must be closed.
        let late: Vec<_> = all.iter().filter(|core| !core.drain(deadline)).collect();
        late.iter().for_each(|core| core.kill());
        all.iter().for_each(|core| core.wait_for_exits(deadline));
        #[cfg(feature = "tokio")]
        let futures_ended = super::async_tasks::drain(deadline);
        #[cfg(not(feature = "tokio"))]
        let futures_ended = true;
        late.is_empty() && futures_ended
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Pending {}
    impl Sealed for std::time::Duration {}
}

impl Pool {
    /// Closes the pool, and waits until running tasks have ended. Tasks that are submitted later end as
    /// [`TaskError::PoolClosed`](crate::TaskError::PoolClosed). [`Pending`] says whether queued tasks run.
    ///
    /// With [`Pending::Cancel`] running tasks are asked to stop: [`cancelled()`](crate::cancelled) becomes `true` for
    /// them. Worker processes that run a task are killed, and their calls end as
    /// [`TaskError::Cancelled`](crate::TaskError::Cancelled). Idle worker processes drop their state and exit; those
    /// that have not exited after 5 s, counted once for all, are killed.
    ///
    /// With a [`Duration`] the pool runs its queued tasks for that time at most, then cancels what is left, as
    /// [`kill`](Self::kill) does, and returns without waiting for it: `true` if all tasks have ended in time. What is
    /// left of the time is for worker processes to exit, so that their `on_process_stop` hooks have run; those that take
    /// longer end by themselves, or with the program.
    ///
    /// Direct calls and maps on a closed pool panic. A direct call with `timeout` or of a process function returns the
    /// error instead, where its return type has a place for it. Callers of the default cpu pool compute along: a map
    /// that is collected or folded, and a chunked call, still run, on the calling thread alone.
    ///
    /// Called on one of the pool's own workers, `shutdown` closes the pool and does not wait for the task that calls
    /// it. In a forked child, which has none of the pool's threads, `shutdown` and dropping the pool do nothing.
    ///
    /// In a Ctrl-C handler, `shutdown(Pending::Cancel)` ends every wait for a queued task at once, and every wait for a
    /// worker process. Without a handler nothing keeps the program from ending: threads of `static` pools end with it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use fanfold::{Pending, Pool, TaskError};
    ///
    /// static UPLOADS: Pool = Pool::io("uploads").threads(2);
    ///
    /// let last = UPLOADS.submit(|| 7);
    /// UPLOADS.shutdown(Pending::Run); // the queued task has run
    /// assert!(last.is_finished());
    /// assert!(matches!(UPLOADS.submit(|| 8).join(), Err(TaskError::PoolClosed)));
    ///
    /// static DOWNLOADS: Pool = Pool::io("downloads").threads(2);
    ///
    /// let last = DOWNLOADS.submit(|| 7);
    /// assert!(DOWNLOADS.shutdown(Duration::from_secs(20))); // it has run, within this time
    /// assert!(last.is_finished());
    /// ```
    #[doc(alias = "terminate")]
    #[doc(alias = "shutdown_timeout")]
    #[allow(clippy::must_use_candidate, reason = "a program that ends has no use for the answer")]
    pub fn shutdown<M: ShutdownMode>(&self, mode: M) -> M::Output {
        mode.shut_down(self)
    }

    /// Closes the pool and ends its tasks, as far as that can be forced: queued tasks end as
    /// [`TaskError::Cancelled`](crate::TaskError::Cancelled), running ones see
    /// [`cancelled()`](crate::cancelled) become `true`, and worker processes that run one are killed.
    ///
    /// A map that runs on the pool starts no further item, and panics as on a closed pool; inside a task of the pool it
    /// ends the task as `Cancelled`. Maps on the default cpu pool go on, on the threads that called them.
    ///
    /// It does not wait. Dropping an owned pool still waits until running tasks have returned: no thread can be killed.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::{Pool, TaskError, cancelled};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = Pool::io("single").threads(1).build()?;
    /// let (started, starts) = std::sync::mpsc::channel();
    /// let running = pool.submit(move || {
    ///     started.send(()).unwrap();
    ///     while !cancelled() {
    ///         std::thread::yield_now();
    ///     }
    /// });
    /// starts.recv()?;
    /// let queued = pool.submit(|| unreachable!("it never runs"));
    /// pool.kill();
    /// assert!(matches!(queued.join(), Err::<(), _>(TaskError::Cancelled)));
    /// running.join()?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "terminate")]
    #[doc(alias = "shutdown_background")]
    pub fn kill(&self) {
        self.core().kill();
    }
}

impl Core {
    /// Closes the pool and cancels its jobs, without waiting. Does nothing in a forked child.
    fn kill(&self) {
        if !self.is_from_parent() {
            self.and_frames().for_each(Self::cancel_all);
        }
    }

    /// This pool, and the frame pool beside it if there is one.
    fn and_frames(&self) -> impl Iterator<Item = &Self> {
        #[cfg(feature = "polars")]
        let frames = self.frame_pool.get().map(|frames| &**frames);
        #[cfg(not(feature = "polars"))]
        let frames = None;
        std::iter::once(self).chain(frames)
    }

    /// Whether the pool was shut down with [`Pending::Cancel`].
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Closes the pool, cancels queued jobs, asks running jobs to stop, and kills the worker processes that run one.
    fn cancel_all(&self) {
        let mut jobs = Vec::new();
        // All under one lock: a job that is asked to stop may end at once, and its thread must find an empty queue.
        let state = self.queue.close_and_take_all(&mut jobs);
        self.cancelled.store(true, Ordering::Release);
        current_worker::note_cancelled_pool();
        drop(state);
        #[cfg(feature = "process")]
        self.process_slots.cancel();
        for job in jobs.into_iter().flatten() {
            job.abandon(true);
            // This may be the last reference to its caller's span, whose subscriber is the user's code and may panic.
            unwind::discard(job);
        }
    }

    /// Whether the pool takes no more jobs.
    pub(crate) fn is_closed(&self) -> bool {
        !self.is_from_parent() && self.queue.lock().closed
    }

    /// Closes the pool, and waits until all jobs have ended, until the deadline at most. Returns whether they have. If
    /// a job of the pool calls this, its own end is not waited for.
    pub(crate) fn drain(&self, deadline: Option<Instant>) -> bool {
        if self.is_from_parent() {
            return true;
        }
        let own = usize::from(current_worker::is_inside(self));
        let mut state = self.queue.lock();
        self.queue.close(&mut state);
        state.wake_all();
        let done = self.queue.is_done_except(&state, own);
        drop(state);
        if done {
            return true;
        }
        // The jobs may wait for the pool that this thread works for, so this thread gives its permit back.
        match deadline {
            Some(limit) => blocking_section_until(limit, || self.wait_until_done(own, deadline)),
            None => blocking_section(|| self.wait_until_done(own, deadline)),
        }
    }

    /// Of a closed pool of processes: waits until its workers have run their hooks and exited, until the deadline at
    /// most. Each thread of the pool ends after its worker. Does nothing on such a thread.
    fn wait_for_exits(&self, deadline: Option<Instant>) {
        let must_wait = self.kind == Kind::Process && !self.is_from_parent() && !current_worker::is_worker_of(self);
        if must_wait {
            match deadline {
                Some(limit) => blocking_section_until(limit, || self.queue.wait_for_threads(deadline)),
                None => blocking_section(|| self.queue.wait_for_threads(deadline)),
            }
        }
    }

    fn wait_until_done(&self, own: usize, deadline: Option<Instant>) -> bool {
        let mut state = self.queue.lock();
        while !self.queue.is_done_except(&state, own) {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return false;
            }
            let progress = &self.queue.drain_progress;
            state = match left {
                Some(left) => mutex::wait_timeout(progress, state, left).0,
                None => mutex::wait(progress, state),
            };
        }
        true
    }

    /// Closes the pool, waits until queued jobs have run or, with `cancel`, are cancelled, and joins the threads,
    /// except those whose job has timed out. With `cancel`, running jobs are asked to stop. Does nothing in a forked
    /// child.
    pub(crate) fn close_and_join(&self, cancel: bool) {
        if self.is_from_parent() {
            return;
        }
        if cancel {
            self.cancel_all();
        }
        #[cfg(feature = "polars")]
        if let Some(frame_pool) = self.frame_pool.get() {
            frame_pool.close_and_join(cancel);
        }
        match self.kind {
            Kind::Cpu => cpu::close_and_join(self),
            Kind::Io | Kind::Frame | Kind::Process => blocking::close_and_join(self),
        }
    }
}
