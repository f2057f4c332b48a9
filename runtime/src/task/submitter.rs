//! [`Submitter`]: closures as tasks of a pool, with a deadline or a priority; and the submissions that do not wait in
//! silence while a queue is full.

use std::any::type_name;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use super::Task;
use super::queueing::{Deadline, Priority, Queueing};
use super::send_proof::CallProof;
use super::slot::{Slot, TaskOptions};
use crate::pool::queue_limit::QueuePlace;
use crate::pool::{Core, Pool};

/// Submits closures to a pool with a deadline or a priority. [`Pool::with_deadline`] and [`Pool::with_priority`] make
/// one.
#[derive(Clone, Copy, Debug)]
#[must_use = "nothing is submitted before `submit`"]
pub struct Submitter<'p> {
    pool: &'p Pool,
    queueing: Queueing,
}

impl Pool {
    /// Submits closures that must have started by a time: a [`Duration`](std::time::Duration) from now on, which counts
    /// the time in the queue, or an [`Instant`](std::time::Instant). See [`Deadline`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use fanfold::{Pool, TaskError};
    ///
    /// let pool = Pool::io_default();
    /// let in_time = pool.with_deadline(Duration::from_secs(60)).submit(|| 6 * 7);
    /// assert_eq!(in_time.join().unwrap(), 42);
    ///
    /// let late = pool.with_deadline(Instant::now()).submit(|| unreachable!("it is too late"));
    /// assert!(matches!(late.join(), Err(TaskError::TimedOut { .. })));
    /// ```
    pub fn with_deadline(&self, deadline: impl Into<Deadline>) -> Submitter<'_> {
        Submitter { pool: self, queueing: Queueing { deadline: Some(deadline.into()), priority: Priority::Normal } }
    }

    /// Submits closures with this [`Priority`].
    pub fn with_priority(&self, priority: Priority) -> Submitter<'_> {
        Submitter { pool: self, queueing: Queueing { deadline: None, priority } }
    }

    fn with_defaults(&self) -> Submitter<'_> {
        Submitter { pool: self, queueing: Queueing::default() }
    }

    /// As [`submit`](Self::submit), unless the queue is full ([`queue_limit`](Self::queue_limit)): it never waits.
    ///
    /// # Errors
    ///
    /// [`TrySubmitError`] with the closure, if the queue is full.
    ///
    /// # Panics
    ///
    /// As [`submit`](Self::submit).
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::Pool;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = Pool::io("uploads").threads(1).queue_limit(1).build()?;
    /// let (release, released) = std::sync::mpsc::channel::<()>();
    /// let running = pool.submit(move || released.recv().is_err());
    /// let waiting = pool.submit(|| "waits"); // once the first one has started
    /// let refused = pool.try_submit(|| "would wait").unwrap_err();
    /// drop(release);
    /// assert!(running.join()?);
    /// assert_eq!(waiting.join()?, "waits");
    /// assert_eq!(refused.into_inner()(), "would wait"); // the closure
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn try_submit<T, F>(&self, work: F) -> Result<Task<T>, TrySubmitError<F>>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.with_defaults().try_submit(work)
    }

    /// As [`submit`](Self::submit), and awaits a place if the queue is full ([`queue_limit`](Self::queue_limit)). It
    /// blocks no thread, so it is the form for async code. The output is the task; dropping the future before submits
    /// nothing.
    ///
    /// # Panics
    ///
    /// As [`submit`](Self::submit).
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::Pool;
    ///
    /// static UPLOADS: Pool = Pool::io("uploads").threads(2).queue_limit(10);
    ///
    /// # pollster::block_on(async {
    /// let upload = UPLOADS.submit_async(|| "done").await; // submitted
    /// assert_eq!(upload.await?, "done");
    /// # Ok::<(), fanfold::TaskError>(())
    /// # }).unwrap();
    /// ```
    #[track_caller]
    pub fn submit_async<T, F>(&self, work: F) -> impl Future<Output = Task<T>> + Send + 'static + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.with_defaults().submit_async(work)
    }
}

impl Submitter<'_> {
    /// Sets the deadline, as [`Pool::with_deadline`] does.
    pub fn deadline(mut self, deadline: impl Into<Deadline>) -> Self {
        self.queueing.deadline = Some(deadline.into());
        self
    }

    /// Sets the priority.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.queueing.priority = priority;
        self
    }

    /// As [`Pool::submit`]. A wait for a place in a full queue ends at the deadline.
    ///
    /// # Panics
    ///
    /// As [`Pool::submit`].
    #[track_caller]
    pub fn submit<T, F>(self, work: F) -> Task<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let core = self.pool.core().with_threads("closures");
        start(core, core.wait_for_place(self.queueing.until()), self.queueing, work)
    }

    /// As [`Pool::try_submit`].
    ///
    /// # Errors
    ///
    /// [`TrySubmitError`] with the closure, if the queue is full.
    ///
    /// # Panics
    ///
    /// As [`Pool::submit`].
    #[track_caller]
    pub fn try_submit<T, F>(self, work: F) -> Result<Task<T>, TrySubmitError<F>>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let core = self.pool.core().with_threads("closures");
        match core.try_place() {
            Ok(place) => Ok(start(core, place, self.queueing, work)),
            Err(_) => Err(TrySubmitError::new(core, work)),
        }
    }

    /// As [`Pool::submit_async`]. A wait for a place in a full queue ends at the deadline.
    ///
    /// # Panics
    ///
    /// As [`Pool::submit`].
    #[track_caller]
    #[allow(clippy::async_yields_async, reason = "the task is awaited on its own")]
    pub fn submit_async<T, F>(self, work: F) -> impl Future<Output = Task<T>> + Send + 'static + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let core = Arc::clone(self.pool.core().with_threads("closures"));
        let queueing = self.queueing;
        async move {
            let place = core.place(queueing.until()).await;
            start(&core, place, queueing, work)
        }
    }
}

/// Queues a closure.
#[inline]
pub(super) fn start<T, F>(core: &Arc<Core>, place: Option<QueuePlace>, queueing: Queueing, work: F) -> Task<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let (name, options) = (type_name::<F>(), TaskOptions::default());
    let Some(place) = place else {
        let slot = Slot::new(Arc::clone(core), name, options, work, CallProof::from_bounds());
        return Task::queue(core, slot, queueing);
    };
    let placed = move || {
        drop(place);
        work()
    };
    Task::queue(core, Slot::new(Arc::clone(core), name, options, placed, CallProof::from_bounds()), queueing)
}

/// Why `try_submit` submitted nothing: the pool's queue has as many tasks as its
/// [`queue_limit`](crate::Pool::queue_limit) allows. It has what was to be submitted: the closure, or the arguments of
/// the function as a tuple.
pub struct TrySubmitError<A> {
    refused: A,
    pool: &'static str,
    limit: usize,
}

impl<A> TrySubmitError<A> {
    pub(crate) fn new(core: &Core, refused: A) -> Self {
        Self { refused, pool: core.name(), limit: core.queue_limit().unwrap_or(usize::MAX) }
    }

    /// The closure, or the tuple of arguments.
    #[must_use]
    pub fn into_inner(self) -> A {
        self.refused
    }
}

impl<A> fmt::Debug for TrySubmitError<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrySubmitError").field("pool", &self.pool).field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl<A> fmt::Display for TrySubmitError<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the queue of the pool `{}` is full, as its limit is {}: try again later, or wait for a place with `submit` \
             or `submit_async`",
            self.pool, self.limit
        )
    }
}

impl<A> Error for TrySubmitError<A> {}
