//! [`join`]: two closures, potentially in parallel. On the threads of a cpu pool this is rayon's `join`; the half that
//! another thread steals is given the context of the caller.

use std::mem::{ManuallyDrop, needs_drop};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, PoisonError};

use super::current_worker::{self, StolenWork};
use super::span::CallerSpan;
use super::work_span::{Work, observed};
use super::{Core, Pool, computing, config, scoped};
use crate::sys::{fork, mutex, unwind};
use crate::task::cancel::{CallerTask, CurrentTask};

/// Runs two closures, potentially in parallel, and returns both results. They may borrow from the caller.
///
/// This is the form for recursion that divides its work: sorting, trees, searches. A call costs some ten nanoseconds,
/// as `rayon::join` does, where [`submit`](Pool::submit) makes a task with a queue entry and a handle.
///
/// On a worker of a cpu pool `a` runs at once, and `b` after it, unless an idle worker of that pool has taken `b` by
/// then. A worker that waits for the other half runs other halves meanwhile. While all workers are busy, no thread is
/// woken. On any other thread the default cpu pool runs both closures, and the caller waits. On a thread of another
/// rayon pool, such as the global one, that pool's threads run them.
///
/// Both halves run in the caller's `tracing` span (feature `tracing`), and see [`cancelled()`](crate::cancelled) of the
/// caller's task.
///
/// Both run in turn on the calling thread with `FANFOLD_SERIAL=1`; in a forked child; inside of a map, while the map's
/// threads keep all cores busy; and on any other thread than the pool's once the default cpu pool is closed.
///
/// # Panics
///
/// With the payload of the closure that panicked, or of `a` if both did, after both have ended. And if the default cpu
/// pool is needed, and its first use fails: see [`Pool::submit`].
///
/// # Examples
///
/// ```
/// fn quicksort(numbers: &mut [i64]) {
///     let Some(last) = numbers.len().checked_sub(1).filter(|last| *last > 0) else { return };
///     let pivot = numbers[last];
///     let mut place = 0;
///     for index in 0..last {
///         if numbers[index] < pivot {
///             numbers.swap(index, place);
///             place += 1;
///         }
///     }
///     numbers.swap(place, last);
///     let (left, right) = numbers.split_at_mut(place);
///     fanfold::join(|| quicksort(left), || quicksort(&mut right[1..]));
/// }
///
/// let mut numbers = [3, -1, 4, -1, 5, -9, 2, 6];
/// quicksort(&mut numbers);
/// assert_eq!(numbers, [-9, -1, -1, 2, 3, 4, 5, 6]);
/// ```
#[doc(alias = "fork_join")]
#[doc(alias = "divide_and_conquer")]
#[inline]
pub fn join<A, B, RA, RB>(a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA + Send,
    B: FnOnce() -> RB + Send,
    RA: Send,
    RB: Send,
{
    match on_own_cpu_pool() {
        Some(task) => join_on_rayon_thread(task, a, b),
        None => join_elsewhere(a, b),
    }
}

/// On a thread of a rayon pool: rayon's `join`.
#[inline]
fn join_on_rayon_thread<A, B, RA, RB>(task: CallerTask, a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA + Send,
    B: FnOnce() -> RB + Send,
    RA: Send,
    RB: Send,
{
    let span = CallerSpan::here();
    if task.is_none() && span.is_none() {
        // What rayon copies costs time: some 10 % of a `join` of two empty closures.
        return join_with_context(a, b, |b| {
            let _outside = CurrentTask::none();
            b()
        });
    }
    // By value: a thread that runs its own half follows no further pointer.
    join_with_context(a, b, move |b| {
        // SAFETY: the caller is inside of the task, and waits until both halves have ended.
        let _inside = (span.enter(), unsafe { task.enter() });
        b()
    })
}

/// The task of this thread, if the thread is one of rayon's, works for the cpu pool that started it, and is to share
/// its work. Not generic, so that the thread-locals are read in one call: code of other crates calls an accessor for
/// each.
#[inline(never)]
fn on_own_cpu_pool() -> Option<CallerTask> {
    if computing::is_computing() && is_crowded() {
        return None;
    }
    current_worker::is_on_own_cpu_pool().then(CallerTask::here)
}

/// Whether this thread computes a share of a map, and the other cores do so, too. The caller of the map is not among
/// rayon's threads, so a worker that rayon woke to steal would find no free core.
#[cold]
#[inline(never)]
fn is_crowded() -> bool {
    let core = Pool::cpu_default().core();
    computing::is_computing() && !core.load().has_free_core(core.threads() - 1)
}

/// Rayon's `join`. A thread that steals `b` runs it by `stolen`.
#[inline]
fn join_with_context<A, B, RA, RB>(a: A, b: B, stolen: impl FnOnce(B) -> RB + Send) -> (RA, RB)
where
    A: FnOnce() -> RA + Send,
    B: FnOnce() -> RB + Send,
    RA: Send,
    RB: Send,
{
    let (a, b) = rayon::join_context(
        |_| {
            // `b` can be stolen from here on.
            current_worker::wake_resident_to_steal();
            HalfResult::new(run_unless_forked(a))
        },
        move |context| {
            HalfResult::new(if context.migrated() { StolenWork::run(|| run_unless_forked(|| stolen(b))) } else { b() })
        },
    );
    (a.take(), b.take())
}

/// The result of a half. If the other half panics, rayon drops it while the thread unwinds. Its destructor may panic as
/// well.
struct HalfResult<T>(ManuallyDrop<T>);

impl<T> HalfResult<T> {
    #[inline]
    fn new(result: T) -> Self {
        Self(ManuallyDrop::new(result))
    }

    #[inline]
    fn take(self) -> T {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is not dropped, so the result is taken here alone.
        unsafe { ManuallyDrop::take(&mut this.0) }
    }
}

impl<T> Drop for HalfResult<T> {
    #[inline]
    fn drop(&mut self) {
        if needs_drop::<T>() {
            // SAFETY: `take` was not called, as it drops no `self`, and `drop` is called once.
            unwind::discard(unsafe { ManuallyDrop::take(&mut self.0) });
        }
    }
}

/// Runs a half on one of rayon's threads. A forked child that returns from it ends here: the thread that runs the other
/// half may exist in the parent only.
#[inline]
fn run_unless_forked<T>(work: impl FnOnce() -> T) -> T {
    let forks = fork::watched_generation();
    let result = work();
    if fork::is_child(forks) {
        fork::exit_child();
    }
    result
}

/// On any other thread than one of rayon's that works for its own pool.
#[cold]
#[inline(never)]
fn join_elsewhere<A, B, RA, RB>(a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA + Send,
    B: FnOnce() -> RB + Send,
    RA: Send,
    RB: Send,
{
    if config::serial() || is_crowded() {
        return join_in_turn(a, b);
    }
    if let Some(core) = current_worker::cpu_pool() {
        // A spare thread, or a thread of another pool on a borrowed permit. It does not wait for rayon's threads, as it
        // may run in the place of one that waits.
        return if core.has_free_permit() { join_with_helper(&core, a, b) } else { join_in_turn(a, b) };
    }
    if rayon::current_thread_index().is_some() && !current_worker::is_worker() {
        // Has forks counted.
        let _ = fork::generation();
        return join_on_rayon_thread(CallerTask::here(), a, b);
    }
    let core = Pool::cpu_default().core();
    if core.is_from_parent() {
        return join_in_turn(a, b);
    }
    let task = CallerTask::here();
    let mut halves = Some((a, b));
    let ran = scoped::run_on(core, true, || {
        let (a, b) = halves.take()?;
        // SAFETY: the caller is inside of the task, and waits until this closure has ended.
        let _inside = unsafe { task.enter() };
        Some(observed(Work::half_of_join(core), None, || join(a, b)))
    });
    match (ran, halves) {
        (Ok(Some(results)), _) => results,
        // The pool is closed.
        (_, Some((a, b))) => join_in_turn(a, b),
        (_, None) => unreachable!("the closure returns `None` only if another run of it took the halves"),
    }
}

/// Runs both halves on this thread.
fn join_in_turn<RA, RB>(a: impl FnOnce() -> RA, b: impl FnOnce() -> RB) -> (RA, RB) {
    let a = catch_unwind(AssertUnwindSafe(a));
    let b = catch_unwind(AssertUnwindSafe(b));
    both(a, b)
}

/// Both results, or the panic of the first half that panicked.
fn both<RA, RB>(a: std::thread::Result<RA>, b: std::thread::Result<RB>) -> (RA, RB) {
    match (a, b) {
        (Ok(a), Ok(b)) => (a, b),
        (Err(payload), other) => {
            unwind::discard(other);
            resume_unwind(payload)
        }
        (Ok(other), Err(payload)) => {
            unwind::discard(other);
            resume_unwind(payload)
        }
    }
}

/// Runs one half on this thread, and the other on a worker of the pool if one comes before it is begun here.
fn join_with_helper<A, B, RA, RB>(core: &std::sync::Arc<Core>, a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA + Send,
    B: FnOnce() -> RB + Send,
    RA: Send,
    RB: Send,
{
    let (a, b) = (Half::new(a), Half::new(b));
    // The halves run only once, so this closure may be called by both threads.
    let run = || {
        a.run();
        b.run();
    };
    // This thread computes, so both have run even if the pool is closed.
    let _ = scoped::lend(core, 1, true, &run);
    both(a.into_result(), b.into_result())
}

/// A closure that the first of two threads runs, and its result.
struct Half<F, T> {
    work: Mutex<Option<F>>,
    result: Mutex<Option<std::thread::Result<T>>>,
}

impl<F: FnOnce() -> T, T> Half<F, T> {
    fn new(work: F) -> Self {
        Self { work: Mutex::new(Some(work)), result: Mutex::new(None) }
    }

    /// Runs it, unless a thread has begun to.
    fn run(&self) {
        let work = mutex::lock(&self.work).take();
        if let Some(work) = work {
            let result = catch_unwind(AssertUnwindSafe(work));
            *mutex::lock(&self.result) = Some(result);
        }
    }

    /// Its result; it has run.
    fn into_result(self) -> std::thread::Result<T> {
        self.run();
        let result = self.result.into_inner().unwrap_or_else(PoisonError::into_inner);
        result.expect("the caller ran it, or waited for the thread that did")
    }
}
