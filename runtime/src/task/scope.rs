//! [`scope`]: scoped tasks, which borrow from the caller as threads of `std::thread::scope` do.
//!
//! Why the borrows are sound: [`scope`] does not return or unwind before the closure of every task is gone: it has run,
//! or was dropped without running. The last field of a closure counts it down, so when nothing is left that borrows. A
//! task's result is in a packet that the closure and the task's handle own. The closure gives up its part before it
//! counts down, and the handle cannot outlive the scope.

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Waker;

use super::Task;
use super::send_proof::CallProof;
use super::slot::{Handle, Slot, TaskOptions};
use crate::error::TaskError;
use crate::error::panics;
use crate::pool;
use crate::pool::runtime_warning::warn_if_waiting;
use crate::pool::{Core, Pool};
use crate::sys::{fork, mutex, park, reserve};

/// Runs tasks that may borrow from outside the scope, and waits for all of them before it returns.
///
/// A worker that waits here runs the tasks that have not started, the oldest first. So scopes may nest as deep as the
/// stack goes, at any pool size and on few threads.
///
/// # Panics
///
/// With the closure's own payload if it panics, after the tasks have ended; and if a task that was not joined panicked,
/// or did not run because its pool was closed.
///
/// # Examples
///
/// ```
/// let mut numbers = vec![3, 1, 2];
/// let words = String::from("one two");
///
/// let count = fanfold::scope(|s| {
///     s.submit(|| numbers.sort()); // borrowed mutably by one task
///     let count = s.submit(|| words.split(' ').count()); // borrowed by another
///     count.join().unwrap()
/// });
/// assert_eq!((numbers, count), (vec![1, 2, 3], 2));
/// ```
#[doc(alias = "TaskGroup")]
#[cfg_attr(debug_assertions, track_caller)]
pub fn scope<'env, T>(work: impl for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T) -> T {
    warn_if_waiting("scope", "await tasks of `submit(..)`, or call it in `spawn_blocking`");
    let scope = Scope {
        state: Arc::new(ScopeState {
            pending: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            not_run: AtomicBool::new(false),
            caller: park::waker(),
            unstarted: pool::is_worker().then(Mutex::default),
        }),
        _tasks: PhantomData,
        _env: PhantomData,
    };
    let forks = fork::generation();
    let result = catch_unwind(AssertUnwindSafe(|| work(&scope)));
    let state = &scope.state;
    // In a forked child no thread runs the tasks, so none of them uses what it borrows.
    if state.pending.load(Ordering::Acquire) > 0 && fork::is_child(forks) {
        match result {
            Err(payload) => resume_unwind(payload),
            Ok(_) => fork::panic_in_child(),
        }
    }
    state.run_unstarted(Task::claim);
    let is_over = || state.pending.load(Ordering::Acquire) == 0;
    loop {
        let refusals = pool::refusals();
        pool::wait_until(|| is_over() || pool::refusals() != refusals);
        if is_over() {
            break;
        }
        state.run_unstarted(Task::claim_if_threads_refused);
    }
    match result {
        Err(payload) => resume_unwind(payload),
        Ok(_) if state.panicked.load(Ordering::Relaxed) => {
            panic!("a task of the scope panicked and was not joined: join it to get its panic as an error")
        }
        Ok(_) if state.not_run.load(Ordering::Relaxed) => {
            panic!("a task of the scope did not run and was not joined: its pool was closed")
        }
        Ok(result) => result,
    }
}

/// Submits tasks that borrow; [`scope`] passes one to its closure.
///
/// `'scope` is the lifetime of the scope's tasks, `'env` that of what they borrow.
pub struct Scope<'scope, 'env: 'scope> {
    state: Arc<ScopeState>,
    /// Invariant, as in `std::thread::Scope`: neither lifetime may be shortened or stretched.
    _tasks: PhantomData<&'scope mut &'scope ()>,
    _env: PhantomData<&'env mut &'env ()>,
}

struct ScopeState {
    /// The closures that are not gone.
    pending: AtomicUsize,
    /// Whether a task panicked that was not joined.
    panicked: AtomicBool,
    /// Whether a task that was not joined did not run because its pool was closed.
    not_run: AtomicBool,
    caller: Waker,
    /// Tasks that may not have started, for the caller to run; `None` if the caller is no worker.
    unstarted: Option<Mutex<UnstartedTasks>>,
}

/// Tasks in the order of their submission.
#[derive(Default)]
struct UnstartedTasks {
    tasks: Vec<Weak<dyn Handle<()>>>,
    /// Above this length the tasks that are dropped are removed.
    prune_above: usize,
}

impl UnstartedTasks {
    /// A shorter list is not pruned.
    const MIN_PRUNE: usize = 64;

    fn add(unstarted: &Mutex<Self>, task: &Task<()>) {
        let lock = || mutex::lock(unstarted);
        let mut gone = Vec::new();
        let mut this = reserve::lock_with_capacity(lock, |this| &mut this.tasks, 1);
        this.tasks.push(task.downgrade());
        if this.tasks.len() > this.prune_above.max(Self::MIN_PRUNE) {
            drop(this);
            let mut this = reserve::lock_with_buffer(lock, |this| this.tasks.len(), &mut gone);
            gone.extend(this.tasks.extract_if(.., |task| task.strong_count() == 0));
            this.prune_above = 2 * this.tasks.len();
        }
        // Their memory is freed here, without the lock.
        drop(gone);
    }
}

impl ScopeState {
    /// Runs the tasks that have not started on this thread, as far as `claim` can.
    fn run_unstarted(&self, claim: fn(&Task<()>) -> bool) {
        let Some(unstarted) = &self.unstarted else { return };
        let mut left = Vec::new();
        loop {
            let tasks = std::mem::take(&mut mutex::lock(unstarted).tasks);
            if tasks.is_empty() {
                break;
            }
            for weak in tasks {
                // Another worker may have run and dropped it.
                let Some(task) = weak.upgrade().map(Task::from_handle) else { continue };
                if !claim(&task) && !task.is_finished() {
                    left.push(weak);
                }
            }
        }
        // They stay listed for another attempt, in case the operating system refuses their pool a thread.
        let lock = || mutex::lock(unstarted);
        reserve::lock_with_capacity(lock, |unstarted| &mut unstarted.tasks, left.len()).tasks.append(&mut left);
    }
}

impl<'scope> Scope<'scope, '_> {
    /// Runs a closure on the default cpu pool. It may borrow anything that outlives the scope.
    ///
    /// # Panics
    ///
    /// As [`Pool::submit`].
    #[doc(alias = "spawn")]
    #[track_caller]
    pub fn submit<T, F>(&'scope self, work: F) -> ScopedTask<'scope, T>
    where
        T: Send + 'scope,
        F: FnOnce() -> T + Send + 'scope,
    {
        self.submit_on(Pool::cpu_default(), work)
    }

    /// Runs a closure on a pool. It may borrow anything that outlives the scope.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::Pool;
    ///
    /// let words = ["one", "three"];
    /// let letters: usize = fanfold::scope(|s| {
    ///     let counts = words.each_ref().map(|word| s.submit_on(Pool::io_default(), move || word.len()));
    ///     counts.into_iter().map(|count| count.join().unwrap()).sum()
    /// });
    /// assert_eq!(letters, 8);
    /// ```
    ///
    /// # Panics
    ///
    /// As [`Pool::submit`].
    #[track_caller]
    pub fn submit_on<T, F>(&'scope self, pool: &Pool, work: F) -> ScopedTask<'scope, T>
    where
        T: Send + 'scope,
        F: FnOnce() -> T + Send + 'scope,
    {
        let core = pool.core().with_threads("closures");
        self.submit_to(core, type_name::<F>(), TaskOptions::default(), work)
    }

    /// As [`submit_on`](Self::submit_on), with the function's name and the task's options.
    #[track_caller]
    pub(crate) fn submit_to<T, F>(
        &'scope self,
        core: &Arc<Core>,
        function: &'static str,
        options: TaskOptions,
        work: F,
    ) -> ScopedTask<'scope, T>
    where
        T: Send + 'scope,
        F: FnOnce() -> T + Send + 'scope,
    {
        self.state.pending.fetch_add(1, Ordering::Relaxed);
        let guard = PendingGuard(Arc::clone(&self.state));
        let packet = Arc::new(ResultPacket { result: Mutex::default(), state: Arc::clone(&self.state) });
        let scoped = ScopedWork { work, packet: Arc::clone(&packet), _guard: guard };
        let run: Box<dyn FnOnce() + Send + 'scope> = Box::new(move || scoped.run(function));
        // SAFETY: only the lifetime changes. `scope` waits until `pending` is 0, which the closure's `PendingGuard`
        // counts down when the closure is gone.
        let run = unsafe {
            std::mem::transmute::<Box<dyn FnOnce() + Send + 'scope>, Box<dyn FnOnce() + Send + 'static>>(run)
        };
        let task = Task::start(core, Slot::new(Arc::clone(core), function, options, run, CallProof::from_bounds()));
        if let Some(unstarted) = &self.state.unstarted {
            UnstartedTasks::add(unstarted, &task);
        }
        ScopedTask { task, packet, _scope: PhantomData }
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("pending", &self.state.pending.load(Ordering::Relaxed)).finish_non_exhaustive()
    }
}

/// The closure of a task.
struct ScopedWork<F, T> {
    work: F,
    packet: Arc<ResultPacket<T>>,
    /// The last field, so that it is dropped when the others are.
    _guard: PendingGuard,
}

impl<F: FnOnce() -> T, T> ScopedWork<F, T> {
    fn run(self, function: &'static str) {
        let Self { work, packet, _guard } = self;
        let result = panics::catch(function, work);
        *mutex::lock(&packet.result) = ScopedResult::Ended(result);
        // This may be the last owner of the result. A destructor that panics unwinds past the guard.
        drop(packet);
    }
}

/// Counts one closure of the scope down when it is dropped, and wakes the caller after the last one.
struct PendingGuard(Arc<ScopeState>);

impl Drop for PendingGuard {
    fn drop(&mut self) {
        if self.0.pending.fetch_sub(1, Ordering::Release) == 1 {
            self.0.caller.wake_by_ref();
        }
    }
}

/// The result of a scoped task, shared by the task's closure and its handle.
struct ResultPacket<T> {
    result: Mutex<ScopedResult<T>>,
    state: Arc<ScopeState>,
}

#[derive(Default)]
enum ScopedResult<T> {
    /// The task has not run to its end.
    #[default]
    None,
    Ended(Result<T, TaskError>),
    /// It was joined, or cancelled before it ran.
    Settled,
}

impl<T> ResultPacket<T> {
    /// Notes that a task that has not run need not: if it runs nevertheless, its result replaces this.
    fn settle_unrun(&self) {
        let mut result = mutex::lock(&self.result);
        if let ScopedResult::None = *result {
            *result = ScopedResult::Settled;
        }
    }
}

impl<T> Drop for ResultPacket<T> {
    fn drop(&mut self) {
        match self.result.get_mut().unwrap_or_else(PoisonError::into_inner) {
            // The pool has dropped the closure.
            ScopedResult::None => self.state.not_run.store(true, Ordering::Relaxed),
            ScopedResult::Ended(Err(_)) => self.state.panicked.store(true, Ordering::Relaxed),
            ScopedResult::Ended(Ok(_)) | ScopedResult::Settled => {}
        }
    }
}

/// The handle of a task of a [`scope`], which may borrow from outside of it.
pub struct ScopedTask<'scope, T> {
    task: Task<()>,
    packet: Arc<ResultPacket<T>>,
    _scope: PhantomData<&'scope ()>,
}

impl<T> ScopedTask<'_, T> {
    /// Waits for the result.
    ///
    /// # Errors
    ///
    /// As [`Task::join`].
    pub fn join(self) -> Result<T, TaskError> {
        // `scope` has warned.
        let ended = self.task.join_in_silence();
        let result = std::mem::replace(&mut *mutex::lock(&self.packet.result), ScopedResult::Settled);
        ended?;
        match result {
            ScopedResult::Ended(result) => result,
            ScopedResult::None | ScopedResult::Settled => Err(TaskError::Cancelled),
        }
    }

    /// Whether the task has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// As [`Task::cancel`]. A task that has not started drops its closure before this returns.
    #[allow(clippy::must_use_candidate, reason = "most callers only want to cancel")]
    pub fn cancel(&self) -> bool {
        self.packet.settle_unrun();
        self.task.cancel()
    }
}

impl<T> fmt::Debug for ScopedTask<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ScopedTask").field(&self.task).finish()
    }
}
