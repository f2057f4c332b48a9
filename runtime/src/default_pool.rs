//! [`map`], [`submit`] and [`install`]: closures on the default cpu pool.

use crate::map::{Closure, Map, PoolItems};
use crate::pool::Pool;
use crate::task::Task;

/// Maps a closure over items on the default cpu pool: [`Pool::map`]. The closure and the items may borrow.
///
/// # Panics
///
/// As [`Pool::submit`].
///
/// # Examples
///
/// ```
/// let words = ["fan", "fold"];
/// let lengths: Vec<usize> = fanfold::map(&words, |word: &&str| word.len()).collect();
/// assert_eq!(lengths, [3, 4]);
///
/// let mut numbers = vec![1, 2, 3];
/// fanfold::map(&mut numbers, |n: &mut i32| *n *= 2).for_each(drop); // in place
/// assert_eq!(numbers, [2, 4, 6]);
/// ```
#[doc(alias = "par_iter")]
#[doc(alias = "into_par_iter")]
#[track_caller]
pub fn map<S, A, M, R, F>(items: S, function: F) -> Map<S::Source, Closure<F, A, R>, A>
where
    S: PoolItems<A, M>,
    A: Send,
    R: Send,
    F: Fn(A) -> R + Sync,
{
    Pool::cpu_default().map(items, function)
}

/// Runs a closure as a task on the default cpu pool: [`Pool::submit`].
///
/// # Panics
///
/// As [`Pool::submit`].
///
/// # Examples
///
/// ```
/// let task = fanfold::submit(|| (1..=10).product::<u64>());
/// assert_eq!(task.join()?, 3_628_800);
/// # Ok::<(), fanfold::TaskError>(())
/// ```
#[doc(alias = "spawn")]
#[doc(alias = "spawn_blocking")]
#[doc(alias = "to_thread")]
#[doc(alias = "run_in_executor")]
#[track_caller]
pub fn submit<T, F>(work: F) -> Task<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    Pool::cpu_default().submit(work)
}

/// Runs a closure on a worker of the default cpu pool, and returns its result: [`Pool::install`].
///
/// # Panics
///
/// As [`Pool::install`].
///
/// # Examples
///
/// ```
/// let numbers = vec![1, 2, 3];
/// let (sum, most) = fanfold::install(|| fanfold::join(|| numbers.iter().sum::<i32>(), || numbers.iter().max()));
/// assert_eq!((sum, most), (6, Some(&3)));
/// ```
#[track_caller]
pub fn install<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    Pool::cpu_default().install(work)
}
