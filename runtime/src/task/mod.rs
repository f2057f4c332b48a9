//! [`Task`]: the handle of a function call that runs on a pool, as `JoinHandle` is in other libraries.
//!
//! The state behind the handle is in `slot`; `README.md` in this folder describes its states and who moves them.

pub(crate) mod abort_handle;
pub(crate) mod alarm;
mod as_completed;
pub(crate) mod cancel;
mod cancel_on_drop;
mod claim;
mod completed_stream;
pub(crate) mod completions;
mod flatten;
mod join;
mod join_timeout;
pub(crate) mod queueing;
pub(crate) mod scope;
pub(crate) mod send_proof;
mod set;
pub(crate) mod slot;
mod submit;
pub(crate) mod submitter;
pub(crate) mod sync;
mod thread_wait;
mod wait;

use std::fmt;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::error::TaskError;
use crate::pool::{self, Core, Job};
use crate::pool::{config, runtime_wait};
use slot::{Handle, Listener, Outcome, Slot, TaskId};

pub use abort_handle::AbortHandle;
pub use as_completed::{AsCompleted, KeyedTask, as_completed};
pub use cancel_on_drop::CancelOnDrop;
pub use completed_stream::Completed;
pub use flatten::{FlatTask, FlattenResult};
pub use join::{first, first_async, join_all, join_all_async};
pub use join_timeout::JoinTimeout;
pub use queueing::{Deadline, Priority};
pub use set::TaskSet;
pub use submitter::{Submitter, TrySubmitError};
pub use wait::{Until, wait, wait_async};

/// A function call that runs on a pool and will have a result.
///
/// `name::submit(..)` of an annotated function returns one, and so does [`Pool::submit`](crate::Pool::submit).
/// [`join`](Self::join) waits for the result on this thread, `.await` does so in any async runtime. Dropping the handle
/// detaches the task, which goes on by itself.
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
/// # Methods by use
///
/// - Wait: [`join`](Self::join), [`join_timeout`](Self::join_timeout), [`wait`](Self::wait), or `.await` the task;
///   [`flatten`](Self::flatten) before it, for a function that returns a `Result`.
/// - Look: [`is_finished`](Self::is_finished), [`is_running`](Self::is_running), [`id`](Self::id), and
///   [`on_done`](Self::on_done) to be told.
/// - Stop: [`cancel`](Self::cancel), [`cancel_on_drop`](Self::cancel_on_drop), and
///   [`abort_handle`](Self::abort_handle) for other owners.
///
/// # Waiting on a worker
///
/// While a worker joins a task, another thread of its pool may run in its place. A worker that joins a task which has
/// not started runs it on the spot, unless the task belongs to another pool that has hooks (`on_start`, `on_stop`). A
/// worker that waits for several tasks runs one itself only where no other thread can, and while none of the others
/// runs.
///
/// So a function may submit to its own pool and join, at any pool size, and as deep as its stack goes: some 1,000
/// nested joins use up the 2 MiB of a thread's stack (`RUST_MIN_STACK=bytes` gives it more).
///
/// Three things still deadlock: a lock held across a wait, two tasks that wait for each other, and a worker that waits
/// by other means, such as `block_on(task)`, which keeps its place in the pool. On a worker, use [`join`](Self::join).
#[doc(alias = "Future")]
#[doc(alias = "JoinHandle")]
#[doc(alias = "AsyncResult")]
#[must_use = "dropping a task detaches it: join or await it to see its result"]
pub struct Task<T> {
    slot: Arc<dyn Handle<T>>,
}

impl<T> Task<T> {
    /// Queues a slot on a pool and returns its handle.
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

    /// A handle of a task that was started otherwise.
    pub(crate) fn from_handle(slot: Arc<dyn Handle<T>>) -> Self {
        Self { slot }
    }

    /// Waits for the result.
    ///
    /// Called on a thread of an async runtime it blocks that thread: `.await` the task there.
    ///
    /// # Errors
    ///
    /// - [`TaskError::Panicked`] if the function panicked.
    /// - [`TaskError::Cancelled`] if the task was cancelled.
    /// - [`TaskError::TimedOut`] if the function has a time limit and took longer.
    /// - [`TaskError::PoolClosed`] if the pool was closed before the task ran.
    /// - [`TaskError::Init`] if its worker could not make the function's state (`init`).
    ///
    /// For a function of `kind = "process"`, [`TaskError::WorkerDied`] if its process ended or could not be started,
    /// and [`TaskError::Wire`] if an argument or the result could not cross to the process or back.
    ///
    /// # Panics
    ///
    /// If the result was already taken by awaiting this very task; and inside of this very task, which waits for
    /// itself.
    ///
    /// For an `async fn` that is polled by the runtime of the calling thread: a runtime of several threads polls it on
    /// another thread meanwhile; on a runtime of a single thread the wait would never end, so it panics. It panics at
    /// once inside the runtime's `block_on`. Where the runtime was only entered, or its `block_on` has ended, it panics
    /// if the runtime polls no task for 3 s: no thread drives it then, or the one that does computes all the time. The
    /// same holds for all other waits for such a task that have no shorter limit.
    #[doc(alias = "result")]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn join(self) -> Result<T, TaskError> {
        self.warn_if_join_blocks();
        self.join_in_silence()
    }

    /// [`join`](Self::join) without a warning about a blocked runtime.
    #[inline]
    pub(crate) fn join_in_silence(self) -> Result<T, TaskError> {
        self.run_or_wait();
        self.into_outcome()
    }

    /// Waits for the result, for at most `limit`. A wait that times out leaves the task as it is.
    ///
    /// On a worker of a pool it keeps the limit too. Other tasks may run on the worker's place meanwhile; if all places
    /// are taken when the time is over, the pool runs one task more than it has threads until one of them ends.
    ///
    /// # Errors
    ///
    /// [`JoinTimeout::TimedOut`] with the task if the time was over, and [`JoinTimeout::Failed`] with the task's error.
    ///
    /// # Panics
    ///
    /// As [`join`](Self::join).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use fanfold::{JoinTimeout, Pool};
    ///
    /// let (release, released) = std::sync::mpsc::channel::<()>();
    /// let task = Pool::io_default().submit(move || released.recv().is_ok());
    /// let Err(JoinTimeout::TimedOut(task)) = task.join_timeout(Duration::from_millis(1)) else {
    ///     panic!("it cannot be done")
    /// };
    /// release.send(()).ok();
    /// assert!(task.join().unwrap());
    /// ```
    #[doc(alias = "wait_for")]
    pub fn join_timeout(self, limit: Duration) -> Result<T, JoinTimeout<Self>> {
        if self.wait(limit) {
            self.into_outcome().map_err(JoinTimeout::Failed)
        } else {
            Err(JoinTimeout::TimedOut(self))
        }
    }

    /// Waits until the task is done, for at most `limit`, as [`join_timeout`](Self::join_timeout) does. Returns whether
    /// it is done.
    ///
    /// # Panics
    ///
    /// As [`join`](Self::join), if it waits for an `async fn` on the only thread of its runtime.
    #[must_use = "the task may not be done"]
    pub fn wait(&self, limit: Duration) -> bool {
        let Some(deadline) = Instant::now().checked_add(limit) else {
            self.wait_for_end();
            return true;
        };
        let done = || self.slot.is_done();
        !self.spin_or_listen()
            || runtime_wait::wait(self.blocked(), Some(deadline), || pool::wait_until_deadline(done, deadline))
    }

    /// Whether the task is done: its result is there, or will never be.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.slot.is_done()
    }

    /// Whether the task is done and has no result.
    pub(crate) fn has_failed(&self) -> bool {
        self.slot.has_failed()
    }

    /// Whether a worker runs the task now.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.slot.is_running()
    }

    /// Cancels the task if it has not started; asks it to stop if it runs.
    ///
    /// Returns `true` if the function has not run and never will, also if that was so before. If this call ended the
    /// task, its arguments are dropped before it returns, and joining gives [`TaskError::Cancelled`].
    ///
    /// A function that runs on a thread sees [`cancelled()`](crate::cancelled) become `true`, and joining gives what it
    /// returns; a pause between its retries ends. A [`Map`](crate::Map) or chunked call that it runs starts no further
    /// item, items that run see `cancelled()` too, or have their worker process killed, and then the function unwinds
    /// without a message: joining gives [`TaskError::Cancelled`]. A map that is iterated ends between two results. An
    /// `async fn` that runs is dropped at its next `.await`. The worker of a function of `kind = "process"` is killed,
    /// if the call has reached the worker or the worker starts for the call. Joining either of these gives
    /// [`TaskError::Cancelled`], unless the result was there first.
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
    #[doc(alias = "abort")]
    #[allow(clippy::must_use_candidate, reason = "most callers only want to cancel")]
    pub fn cancel(&self) -> bool {
        self.slot.cancel()
    }

    /// Cancels the task if it has not started; asks it to stop if it runs, without killing its worker process.
    pub(crate) fn request_cancel(&self) {
        self.slot.request_cancel();
    }

    /// Calls `callback` when the task has ended: on the thread that ended it, before threads that join it go on; or at
    /// once, on this thread, if the task has ended already. A panic of the callback is reported by the panic hook and
    /// goes no further.
    ///
    /// Keep it short: threads that join the task wait for the callback, and a callback that joined its own task would
    /// wait for itself. It may submit and join other tasks.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::Pool;
    ///
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// let task = Pool::cpu_default().submit(|| 6 * 7);
    /// task.on_done(move |outcome| sender.send(outcome.is_ok()).unwrap());
    /// assert_eq!(receiver.recv(), Ok(true));
    /// assert_eq!(task.join().unwrap(), 42);
    /// ```
    #[doc(alias = "add_done_callback")]
    pub fn on_done(&self, callback: impl FnOnce(&Outcome<'_>) + Send + 'static) {
        if let Some(listener) = self.slot.listen(Listener::Callback(Box::new(callback))) {
            self.slot.notify_now(listener);
        }
    }

    /// The task's number, which no other task of this process has.
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.slot.id()
    }
}

// A panic in a task is caught and is its outcome, so no broken invariant can be observed through its handle.
impl<T> UnwindSafe for Task<T> {}
impl<T> RefUnwindSafe for Task<T> {}

/// Two handles are equal if they are the same task: tasks can be the keys of a map, by their [`id`](Task::id).
impl<T> PartialEq for Task<T> {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl<T> Eq for Task<T> {}

impl<T> Hash for Task<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

/// Any executor can poll a task; it needs no runtime of its own. Dropping the future detaches the task.
///
/// # Panics
///
/// If it is polled after it was ready, which took the result.
impl<T> Future for Task<T> {
    type Output = Result<T, TaskError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.slot.is_done() && self.slot.listen(Listener::Poller(cx.waker().clone())).is_none() {
            self.slot.core().check_fork();
            return Poll::Pending;
        }
        Poll::Ready(self.slot.take().expect("task was polled after completion: await a task once"))
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
