//! [`Task`]: the handle to a function that runs elsewhere.

pub(crate) mod cancel;
pub(crate) mod completions;
pub(crate) mod scope;
pub(crate) mod send_proof;
pub(crate) mod slot;
mod submit;
pub(crate) mod sync;
pub(crate) mod wait;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::error::TaskError;
use crate::pool::block_in_place::BlockedRuntime;
use crate::pool::{self, Core, Job};
use crate::pool::{block_in_place, config};
use crate::sys::park;
use slot::{Handle, Listener, Outcome, Relay, Slot, TaskId};

/// A function call that runs on a pool, and will have a result.
///
/// `name::submit(..)` of an annotated function gives one. [`join`](Self::join) waits for the result, `.await`
/// does so in any async runtime, and dropping the handle lets the call go on by itself.
///
/// # Examples
///
/// ```
/// use fanfold::parallel;
///
/// #[parallel(kind = "io")]
/// fn size_of_file(path: std::path::PathBuf) -> std::io::Result<u64> {
///     Ok(std::fs::metadata(path)?.len())
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let path = std::env::current_exe()?;
/// let task = size_of_file::submit(path); // runs while this thread goes on
/// let bytes = task.join()??; // the first `?` is the task's, the second the function's
/// assert!(bytes > 0);
/// # Ok(())
/// # }
/// ```
///
/// # Waiting on a worker
///
/// A worker that joins gives its place to another thread of its pool meanwhile. One that joins a task which nobody
/// has started yet runs it on the spot, unless the task's pool is another one and has hooks (`on_start`, `on_stop`); one
/// that waits for several tasks does so only where no other thread can, and nothing else that it waits for runs. So a function may submit to its own pool and join, at any pool size, and as deep
/// as its stack goes: some 1,000 joins inside each other are the end of the 2 MiB that a thread has
/// (`RUST_MIN_STACK=bytes` gives it more).
///
/// What can still deadlock is a lock held across a wait, two tasks that wait for each other, and a worker that waits in
/// a way of its own, as in `block_on(task)`: it keeps its place. On a worker, [`join`](Self::join).
#[must_use = "dropping a task detaches it: join or await it to see its result"]
pub struct Task<T> {
    slot: Arc<dyn Handle<T>>,
}

impl<T> Task<T> {
    /// Queues a slot and gives its handle.
    pub(crate) fn start<F>(core: &Arc<Core>, slot: Arc<Slot<F, T>>) -> Self
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        if !config::serial() {
            core.push(slot.clone());
        } else if core.is_closed() {
            slot.abandon(false);
        } else {
            Job::run(Arc::clone(&slot));
        }
        Self { slot }
    }

    /// The handle of a task that exists.
    pub(crate) fn of(slot: Arc<dyn Handle<T>>) -> Self {
        Self { slot }
    }

    /// Waits for the result.
    ///
    /// # Errors
    ///
    /// [`TaskError::Panicked`] if the function panicked, [`TaskError::Cancelled`] if the task was cancelled,
    /// [`TaskError::TimedOut`] if it has a time limit and ran into it, and [`TaskError::PoolClosed`] if its pool was
    /// closed first. [`TaskError::Init`] if its worker could not make the function's state (`init`). Of a function of
    /// `kind = "process"`, [`TaskError::WorkerDied`] if its process ended or could not be started, and
    /// [`TaskError::Wire`] if an argument or the result could not cross.
    ///
    /// # Panics
    ///
    /// If the result was already taken by awaiting this very task.
    ///
    /// Called on a thread of an async runtime it blocks that thread: `.await` the task there. For an `async fn` that
    /// the same runtime polls, it steps aside on a runtime of several threads, and panics on one of a single thread,
    /// where it would wait for ever: at once inside of its `block_on`, and where it was only entered, or has ended, if
    /// it polls no task for 3 s: no thread drives it then, or the one that does computes all the time.
    /// So do all other ways to wait for it that have no shorter limit.
    pub fn join(self) -> Result<T, TaskError> {
        self.run_or_wait();
        self.into_outcome()
    }

    /// Waits until the task is done; a worker runs it if nobody has started it.
    pub(crate) fn run_or_wait(&self) {
        if !self.claim() {
            self.wait_for_end();
        }
    }

    /// Waits until the task is done; a worker runs it if it is refused a thread.
    #[inline(never)]
    fn wait_for_end(&self) {
        let mut refusals = pool::refusals();
        while self.tell_this_thread() {
            let wakes = || self.slot.is_done() || pool::refusals() != refusals;
            block_in_place::wait(self.blocked(), None, || pool::park_until(wakes));
            refusals = pool::refusals();
            if self.slot.is_done() || self.claim_refused() {
                return;
            }
        }
    }

    /// Whether an async runtime polls the task.
    pub(crate) fn is_polled(&self) -> bool {
        self.slot.is_polled()
    }

    /// What this thread blocks if it waits for the task.
    pub(crate) fn blocked(&self) -> BlockedRuntime {
        self.slot.blocked()
    }

    /// Runs the task here if this thread is a worker, nobody has started it, and its pool has a permit to spare. A pool
    /// with hooks has its own threads run its tasks: no other has run them.
    pub(crate) fn claim(&self) -> bool {
        pool::is_worker() && self.slot.claim()
    }

    /// As [`claim`](Self::claim), also of a task that only a worker of its own pool may claim.
    fn run_here(&self) -> bool {
        pool::run_claimed(self.slot.core(), || self.slot.run_if_queued())
    }

    /// Whether a thread that waits may run it.
    pub(crate) fn may_be_claimed(&self) -> bool {
        self.slot.may_be_claimed()
    }

    /// Whether nobody has started it, and it waits for the same pool as `other`.
    pub(crate) fn waits_beside(&self, other: &Self) -> bool {
        Arc::ptr_eq(self.slot.core(), other.slot.core()) && !self.slot.is_running() && !self.slot.is_done()
    }

    /// As [`claim`](Self::claim), if its pool has no other thread for the task: for waits in which another task may end
    /// first.
    pub(crate) fn claim_alone(&self) -> bool {
        pool::is_worker() && self.slot.may_be_claimed() && !self.slot.core().has_thread_for_more() && self.run_here()
    }

    /// As [`claim`](Self::claim), if the operating system refuses the task's pool a thread. The pool's own worker may then
    /// run what has state of its worker, too.
    pub(crate) fn claim_refused(&self) -> bool {
        let core = self.slot.core();
        pool::is_worker()
            && (self.slot.may_be_claimed() || (self.slot.may_be_claimed_by_own() && core.is_own_worker()))
            && core.has_refused_spawn()
            && self.run_here()
    }

    /// Looks for a moment whether the task is done; if not, has this thread woken when it is.
    fn tell_this_thread(&self) -> bool {
        let core = self.slot.core();
        if core.spin_until(|| self.slot.is_done()) {
            return false;
        }
        core.check_fork();
        self.wake_when_done(park::waker())
    }

    /// What the task is found by as long as it exists.
    pub(crate) fn downgrade(&self) -> Weak<dyn Handle<T>> {
        Arc::downgrade(&self.slot)
    }

    /// Has `waker` woken when the task is done; `false` if it is done.
    pub(crate) fn wake_when_done(&self, waker: std::task::Waker) -> bool {
        self.slot.listen(Listener::Wake(waker)).is_none()
    }

    /// Has `relay` told `key` when the task is done; `false` if it is done.
    pub(crate) fn relay_when_done(&self, relay: Arc<dyn Relay>, key: usize) -> bool {
        self.slot.listen(Listener::Relay(relay, key)).is_none()
    }

    /// Whether this is a forked child, and the task is its parent's.
    pub(crate) fn is_left_to_parent(&self) -> bool {
        self.slot.core().is_from_parent()
    }

    /// Tells a relay no more that was to be told this key.
    pub(crate) fn forget(&self, relay: &Arc<dyn Relay>, key: usize) {
        self.slot.forget(relay, key);
    }

    /// The outcome of a task that is done.
    pub(crate) fn into_outcome(self) -> Result<T, TaskError> {
        self.take_outcome().expect("the result of this task was taken before, by awaiting it")
    }

    /// The outcome, once, if the task is done.
    pub(crate) fn take_outcome(&self) -> Option<Result<T, TaskError>> {
        self.slot.take()
    }

    /// Waits for the result, for `limit` at most. Running out of time does nothing to the task.
    ///
    /// # Errors
    ///
    /// [`JoinTimeout`], which gives the task back if its time ran out, and else says why it has no result.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use fanfold::Pool;
    ///
    /// let (release, released) = std::sync::mpsc::channel::<()>();
    /// let task = Pool::io_default().submit(move || released.recv().is_ok());
    /// let Err(late) = task.join_timeout(Duration::from_millis(1)) else { panic!("it cannot be done") };
    /// let task = late.into_task().expect("time ran out");
    /// release.send(()).ok();
    /// assert!(task.join().unwrap());
    /// ```
    pub fn join_timeout(self, limit: Duration) -> Result<T, JoinTimeout<T>> {
        if self.wait(limit) {
            self.into_outcome().map_err(|error| JoinTimeout { task: None, error })
        } else {
            Err(JoinTimeout { task: Some(self), error: TaskError::TimedOut { after: limit } })
        }
    }

    /// Waits until the task is done, for `limit` at most; whether it is.
    #[must_use = "the task may not be done"]
    pub fn wait(&self, limit: Duration) -> bool {
        let Some(deadline) = Instant::now().checked_add(limit) else {
            self.wait_for_end();
            return true;
        };
        let done = || self.slot.is_done();
        !self.tell_this_thread()
            || block_in_place::wait(self.blocked(), Some(deadline), || pool::wait_until_deadline(done, deadline))
    }

    /// Whether the result is there, or will never be.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.slot.is_done()
    }

    /// Whether it has ended without a result.
    pub(crate) fn has_failed(&self) -> bool {
        self.slot.has_failed()
    }

    /// Whether a worker is at it now.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.slot.is_running()
    }

    /// Takes a task back that nobody has started, and asks one that runs to stop.
    ///
    /// Returns `true` if the function will never run: its arguments are dropped before this returns, and joining
    /// gives [`TaskError::Cancelled`]. A function that runs on a thread sees [`cancelled()`](crate::cancelled) become
    /// `true`, and joining gives what it returns; a pause between its tries ends. An `async fn` that runs is dropped at
    /// its next `.await`, and the worker of a function of `kind = "process"` is killed, if the call has reached it or it
    /// starts for the call: joining gives [`TaskError::Cancelled`], unless the result was there first.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::{Pool, TaskError};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = Pool::io("single").threads(1).build()?;
    /// let (release, released) = std::sync::mpsc::channel::<()>();
    /// let first = pool.submit(move || released.recv().is_err());
    /// let second = pool.submit(|| unreachable!("the one worker is busy"));
    /// assert!(second.cancel());
    /// assert!(matches!(second.join(), Err(TaskError::Cancelled)));
    /// drop(release);
    /// assert!(first.join()?);
    /// # Ok(())
    /// # }
    /// ```
    #[allow(clippy::must_use_candidate, reason = "asking is what most callers want")]
    pub fn cancel(&self) -> bool {
        self.slot.cancel()
    }

    /// Takes the task back if nobody has started it; one that runs is asked to stop, and goes on.
    pub(crate) fn withdraw(&self) {
        self.slot.withdraw();
    }

    /// Calls back when the task has ended: on the worker that ended it, before anybody who joins goes on; or here
    /// and now, if it has ended already. A panic in the callback is reported by the panic hook and goes no further.
    ///
    /// Keep it short: whoever joins the task waits for it, and one that joined its own task would wait for itself. It may
    /// submit and join other tasks.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::Pool;
    ///
    /// let (told, tells) = std::sync::mpsc::channel();
    /// let task = Pool::cpu_default().submit(|| 6 * 7);
    /// task.on_done(move |outcome| told.send(outcome.is_ok()).unwrap());
    /// assert_eq!(tells.recv(), Ok(true));
    /// assert_eq!(task.join().unwrap(), 42);
    /// ```
    pub fn on_done(&self, callback: impl FnOnce(&Outcome<'_>) + Send + 'static) {
        if let Some(late) = self.slot.listen(Listener::Call(Box::new(callback))) {
            self.slot.tell(late);
        }
    }

    /// The task's number, which no other task of this process has.
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.slot.id()
    }
}

/// Awaiting a task needs no runtime of Fanfold's: any executor can poll it. Dropping it does not stop the task.
impl<T> Future for Task<T> {
    type Output = Result<T, TaskError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.slot.is_done() && self.slot.listen(Listener::Polled(cx.waker().clone())).is_none() {
            self.slot.core().check_fork();
            return Poll::Pending;
        }
        Poll::Ready(self.slot.take().expect("this task was polled after it gave its result"))
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match (self.slot.is_done(), self.slot.is_running()) {
            (true, _) => "done",
            (_, true) => "running",
            _ => "queued",
        };
        f.debug_struct("Task")
            .field("id", &self.slot.id().to_string())
            .field("function", &self.slot.function())
            .field("state", &state)
            .finish()
    }
}

/// Why [`Task::join_timeout`] has no result: time ran out, or the task failed.
pub struct JoinTimeout<T> {
    task: Option<Task<T>>,
    error: TaskError,
}

impl<T> JoinTimeout<T> {
    /// The task, if it was not done in time.
    #[must_use]
    pub fn into_task(self) -> Option<Task<T>> {
        self.task
    }

    /// Why there is no result: [`TaskError::TimedOut`], or the task's own error.
    #[must_use]
    pub fn error(&self) -> &TaskError {
        &self.error
    }

    /// Why there is no result. A task that was not done in time is detached.
    #[must_use]
    pub fn into_error(self) -> TaskError {
        self.error
    }
}

impl<T> fmt::Debug for JoinTimeout<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinTimeout").field("error", &self.error).field("task", &self.task).finish()
    }
}

impl<T> fmt::Display for JoinTimeout<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.task, &self.error) {
            (Some(_), TaskError::TimedOut { after }) => write!(f, "the task was not done within {after:?}"),
            (_, error) => error.fmt(f),
        }
    }
}

impl<T> std::error::Error for JoinTimeout<T> {}

impl<T> From<JoinTimeout<T>> for TaskError {
    fn from(late: JoinTimeout<T>) -> Self {
        late.error
    }
}
