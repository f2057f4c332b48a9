//! [`scope`]: tasks that borrow from the caller, which waits for all of them.
//!
//! The proof that they may: [`scope`] does not return, or unwind, before every task it has lent to has ended and its
//! closure and result are gone. A task's closure is erased to `'static`; the slot drops it before it tells that the
//! task has ended, and only then is the task counted as over.

use std::any::type_name;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Waker;

use super::Task;
use super::slot::{Handle, Outcome};
use crate::error::TaskError;
use crate::error::panics;
use crate::pool;
use crate::pool::Pool;
use crate::sys::{fork, park, reserve};

/// Runs tasks that borrow what is outside of them, and waits for all of them before it returns.
///
/// A worker that waits here runs those that nobody has started, the oldest first. So scopes may nest as deep as the
/// stack goes, at any pool size and on few threads.
///
/// # Panics
///
/// With the closure's own payload if it panics, after its tasks have ended; and if a task that nobody joined panicked,
/// or did not run as its pool was closed.
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
pub fn scope<'env, T>(work: impl for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T) -> T {
    let scope = Scope {
        shared: Arc::new(Shared {
            pending: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            refused: AtomicIsize::new(0),
            caller: park::waker(),
            unstarted: pool::is_worker().then(Mutex::default),
        }),
        _tasks: PhantomData,
        _env: PhantomData,
    };
    let forks = fork::generation();
    let result = catch_unwind(AssertUnwindSafe(|| work(&scope)));
    let shared = &scope.shared;
    // In a forked child nobody runs them, and nothing borrows any more.
    if shared.pending.load(Ordering::Acquire) > 0 && fork::is_child(forks) {
        match result {
            Err(payload) => resume_unwind(payload),
            Ok(_) => fork::panic_in_child(),
        }
    }
    shared.run_unstarted(Task::claim);
    let is_over = || shared.pending.load(Ordering::Acquire) == 0;
    loop {
        let refusals = pool::refusals();
        pool::wait_until(|| is_over() || pool::refusals() != refusals);
        if is_over() {
            break;
        }
        shared.run_unstarted(Task::claim_refused);
    }
    match result {
        Err(payload) => resume_unwind(payload),
        Ok(_) if shared.panicked.load(Ordering::Relaxed) => panic!("a task of the scope panicked, and was not joined"),
        Ok(_) if shared.refused.load(Ordering::Relaxed) > 0 => {
            panic!("a task of the scope did not run, as its pool was closed, and it was not joined")
        }
        Ok(result) => result,
    }
}

/// Where tasks that borrow are submitted; [`scope`] gives one.
///
/// `'scope` is how long its tasks may run, `'env` how long lives what they borrow.
pub struct Scope<'scope, 'env: 'scope> {
    shared: Arc<Shared>,
    /// Invariant, as in `std::thread::Scope`: neither lifetime may be shortened or stretched.
    _tasks: PhantomData<&'scope mut &'scope ()>,
    _env: PhantomData<&'env mut &'env ()>,
}

struct Shared {
    /// Tasks that have not ended.
    pending: AtomicUsize,
    /// A task panicked that nobody joined.
    panicked: AtomicBool,
    /// Tasks that their closed pools did not run, less those that were joined.
    refused: AtomicIsize,
    caller: Waker,
    /// Tasks that may not have been started, where the caller may run them.
    unstarted: Option<Mutex<Unstarted>>,
}

/// Tasks in the order of their submission.
#[derive(Default)]
struct Unstarted {
    tasks: Vec<Weak<dyn Handle<()>>>,
    /// With so many those that are gone are thrown out.
    crowded: usize,
}

impl Unstarted {
    /// Fewer tasks are no crowd.
    const LEAST: usize = 64;

    fn add(unstarted: &Mutex<Self>, task: &Task<()>) {
        let lock = || unstarted.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gone = Vec::new();
        let mut this = reserve::lock_with_capacity(lock, |this| &mut this.tasks, 1);
        this.tasks.push(task.downgrade());
        if this.tasks.len() > this.crowded.max(Self::LEAST) {
            drop(this);
            let mut this = reserve::lock_with_buffer(lock, |this| this.tasks.len(), &mut gone);
            gone.extend(this.tasks.extract_if(.., |task| task.strong_count() == 0));
            this.crowded = 2 * this.tasks.len();
        }
        // Tasks that are gone are freed here, while the lock is free.
        drop(gone);
    }
}

impl Shared {
    /// Runs tasks here that nobody has started, as far as `claim` can.
    fn run_unstarted(&self, claim: fn(&Task<()>) -> bool) {
        let Some(unstarted) = &self.unstarted else { return };
        let mut left = Vec::new();
        loop {
            let tasks = std::mem::take(&mut unstarted.lock().unwrap_or_else(PoisonError::into_inner).tasks);
            if tasks.is_empty() {
                break;
            }
            for weak in tasks {
                // Another worker may have run it.
                let Some(task) = weak.upgrade().map(Task::of) else { continue };
                if !claim(&task) && !task.is_finished() {
                    left.push(weak);
                }
            }
        }
        // For another attempt, if the operating system refuses them a thread.
        let lock = || unstarted.lock().unwrap_or_else(PoisonError::into_inner);
        reserve::lock_with_capacity(lock, |unstarted| &mut unstarted.tasks, left.len()).tasks.append(&mut left);
    }
}

impl<'scope> Scope<'scope, '_> {
    /// Runs a closure on the default cpu pool. It may borrow whatever outlives the scope.
    #[track_caller]
    pub fn submit<T, F>(&'scope self, work: F) -> ScopedTask<'scope, T>
    where
        T: Send + 'scope,
        F: FnOnce() -> T + Send + 'scope,
    {
        self.submit_on(Pool::cpu_default(), work)
    }

    /// Runs a closure on a pool.
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
        let packet = Arc::new(Packet { result: Mutex::new(None), shared: Arc::clone(&self.shared) });
        let theirs = Arc::clone(&packet);
        let run: Box<dyn FnOnce() + Send + 'scope> = Box::new(move || {
            let result = panics::catch(type_name::<F>(), work);
            *theirs.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            // Dropped here, before the task is told to have ended: it may be the last owner of the result.
            drop(theirs);
        });
        // SAFETY: only the lifetime changes. `scope` waits until the task has ended, and the closure is gone by then:
        // run, or dropped when the task was cancelled or its pool closed.
        let run = unsafe {
            std::mem::transmute::<Box<dyn FnOnce() + Send + 'scope>, Box<dyn FnOnce() + Send + 'static>>(run)
        };
        self.shared.pending.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::clone(&self.shared);
        let over = Over(shared);
        let told = move |outcome: &Outcome<'_>| {
            if let Some(TaskError::PoolClosed) = outcome.error() {
                over.0.refused.fetch_add(1, Ordering::Relaxed);
            }
            drop(over);
        };
        let task = pool.submit_told(run, told);
        if let Some(unstarted) = &self.shared.unstarted {
            Unstarted::add(unstarted, &task);
        }
        ScopedTask { task, packet, _scope: PhantomData }
    }
}

/// Counts a task as over when dropped.
struct Over(Arc<Shared>);

impl Drop for Over {
    fn drop(&mut self) {
        if self.0.pending.fetch_sub(1, Ordering::Release) == 1 {
            self.0.caller.wake_by_ref();
        }
    }
}

/// Where a scoped task leaves its result.
struct Packet<T> {
    result: Mutex<Option<Result<T, TaskError>>>,
    shared: Arc<Shared>,
}

impl<T> Drop for Packet<T> {
    fn drop(&mut self) {
        let left = self.result.get_mut().unwrap_or_else(PoisonError::into_inner);
        if matches!(left, Some(Err(_))) {
            self.shared.panicked.store(true, Ordering::Relaxed);
        }
    }
}

/// A task that may borrow from outside its [`scope`].
pub struct ScopedTask<'scope, T> {
    task: Task<()>,
    packet: Arc<Packet<T>>,
    _scope: PhantomData<&'scope ()>,
}

impl<T> ScopedTask<'_, T> {
    /// Waits for the result.
    ///
    /// # Errors
    ///
    /// As [`Task::join`].
    pub fn join(self) -> Result<T, TaskError> {
        let ended = self.task.join();
        if let Err(TaskError::PoolClosed) = ended {
            self.packet.shared.refused.fetch_sub(1, Ordering::Relaxed);
        }
        ended?;
        let result = self.packet.result.lock().unwrap_or_else(PoisonError::into_inner).take();
        result.unwrap_or(Err(TaskError::Cancelled))
    }

    /// Whether the task has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// As [`Task::cancel`]. A task that nobody has started drops what it borrows before this returns.
    #[allow(clippy::must_use_candidate, reason = "asking is what most callers want")]
    pub fn cancel(&self) -> bool {
        self.task.cancel()
    }
}
