//! [`Map`], the parallel map behind `f::map(items)`: a lazy builder, ended by `collect`, `for_each`, `reduce`, `sum`
//! or `fold`, or iterated. `README.md` describes how one runs.

// The documentation of `Map` shows the methods in the order of the modules that they are in.
mod run;

mod ordered;

mod reduce;

mod compose;
mod flat_map;
mod flat_map_ends;
mod fold;
mod for_each_init;
mod paired;

mod on_pool;
mod options;
mod timeout;

mod collect_async;
mod collect_run;
mod stream;

mod accumulator_blocks;
mod batches;
mod block_fold;
mod block_run;
mod collect;
mod ends;
mod first_error;
mod flat_collect;
mod function;
mod indexed;
mod integers;
mod iter;
pub(crate) mod iterated_ends;
mod map_source;
mod merge_tree;
pub(crate) mod method;
mod output;
#[cfg(feature = "process")]
mod process;
pub(crate) mod progress;
mod schedule;
mod slices;
mod source;
mod stage;
mod task_window;
mod value_list;
mod zipped;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::pool::{Core, CoreRef};
use crate::task::send_proof::CallProof;
use crate::task::slot::TaskOptions;
use method::{Method, SharedReceiver};

pub use collect::Collect;
pub use compose::Then;
pub use flat_map::FlatMap;
pub use fold::MapFold;
#[cfg(feature = "process")]
pub(crate) use function::BatchFn;
pub(crate) use function::{AnnotatedFn, ItemFn, Single, Tuple};
pub use function::{Closure, Companion, Detach, MapFn, MethodFn, Named, NamedFn};
pub use iter::MapIter;
#[cfg(feature = "process")]
pub(crate) use process::ProcessBatches;
pub use slices::{Chunks, ChunksMut, Windows, chunks, chunks_mut, windows};
pub use source::{Items, PoolItems, Source};
pub use stage::Stage;
pub use stream::{FlatMapStream, MapStream};
pub use timeout::TimedMap;
pub use zipped::enumerate;

pub(crate) use collect_run::CollectRun;
pub(crate) use collect_run::panic_pool_closed;
#[cfg(feature = "process")]
pub(crate) use schedule::end_cancelled_task;
pub(crate) use schedule::{Grain, MapWorkers};
#[cfg(feature = "tokio")]
pub(crate) use value_list::ValueList;

/// A parallel map: a function to run on many items. `name::map(items)` of an annotated function returns one, and so
/// does [`Pool::map`](crate::Pool::map).
///
/// A map is lazy. It runs when it is ended by [`collect`](Self::collect), [`for_each`](Self::for_each),
/// [`for_each_ordered`](Self::for_each_ordered), [`reduce`](Self::reduce), [`sum`](Self::sum) or [`fold`](Self::fold),
/// or iterated. Results come in input order.
///
/// Without options the number of items that a worker takes at once is found at run time. The calling thread starts at
/// once and calls workers only when the items left are worth sharing, so a short map costs what a loop costs.
///
/// # Examples
///
/// ```
/// use fanfold::parallel;
///
/// #[parallel(kind = "cpu")]
/// fn is_prime(n: u64) -> bool {
///     n > 1 && (2..).take_while(|d| d * d <= n).all(|d| n % d != 0)
/// }
///
/// #[parallel(kind = "cpu")]
/// fn parse(text: &str) -> Result<i64, std::num::ParseIntError> {
///     text.parse()
/// }
///
/// let primes: Vec<bool> = is_prime::map(0..10).collect();
/// assert_eq!(primes.iter().filter(|p| **p).count(), 4);
///
/// let good: Result<Vec<i64>, _> = parse::map(["1", "2"]).collect();
/// assert_eq!(good, Ok(vec![1, 2]));
/// let bad = parse::map(["1", "two", "3"]).collect::<Result<Vec<_>, _>>();
/// assert!(bad.is_err());
/// ```
#[doc(alias = "into_par_iter")]
#[doc(alias = "par_bridge")]
#[doc(alias = "starmap")]
///
/// # Methods by use
///
/// - All results: [`collect`](Self::collect); with an error for each panic [`outcomes`](Self::outcomes); in several
///   collections [`unzip`](Self::unzip), [`partition`](Self::partition).
/// - One by one, in order: [`for_each_ordered`](Self::for_each_ordered), or iterate the map; as they come:
///   [`unordered`](Self::unordered), and iterate.
/// - On the workers: [`for_each`](Self::for_each), [`try_for_each`](Self::try_for_each), and
///   [`for_each_init`](Self::for_each_init) with a state for each.
/// - One value: [`sum`](Self::sum), [`product`](Self::product), [`count`](Self::count), [`min`](Self::min),
///   [`max`](Self::max), [`reduce`](Self::reduce), [`fold`](Self::fold), [`any`](Self::any), [`all`](Self::all),
///   [`find_first`](Self::find_first) and [`find_any`](Self::find_any).
/// - More in the same pass: [`then`](Self::then), [`filter`](Self::filter), [`filter_map`](Self::filter_map),
///   [`flat_map`](Self::flat_map), [`zip`](Self::zip), [`enumerate`](Self::enumerate).
/// - Options: [`on`](Self::on) another pool, [`timeout`](Self::timeout) of an item, [`progress`](Self::progress),
///   [`chunk_size`](Self::chunk_size), and [`buffer`](Self::buffer), the items in flight.
/// - Async code: [`collect_async`](Self::collect_async), [`stream`](Self::stream).
///
/// In the signatures below `S` stands for the items, `F` for the function, `A` for its argument and `F::Out` for its
/// result. `Source`, `MapFn`, `Detach` and `Stage` are internal traits, which the items and function of every map have;
/// a function is `Detach` if it owns what it captures.
///
/// # Which items workers take by index
///
/// `collect`, `for_each`, `reduce` and `sum` have two kinds of items. Those that each worker takes at its own place, as
/// many at a time as it likes, cost no more than in a loop:
///
/// | in a loop | as items of a map |
/// |---|---|
/// | `v`, `v.iter()`, `v.iter_mut()` | `v`, `&v`, `&mut v` of vectors, slices and arrays |
/// | `v` | a `VecDeque` or a `Box<[T]>` by value |
/// | `a..b` | `a..b` of integers of up to 64 bits |
/// | `v.chunks(n)`, `v.windows(n)` | [`chunks`]`(&v, n)`, [`windows`]`(&v, n)` |
/// | `v.chunks_mut(n)` | [`chunks_mut`]`(&mut v, n)` |
/// | `a.iter().zip(b)` | [`zip`](crate::zip)`(&a, b)` of two of these; `b` may be `n..`, or a zip again |
/// | `v.iter().enumerate()` | [`enumerate`]`(&v)`, the same as `zip(0.., &v)` |
///
/// Any other iterator is pulled by the calling thread, also those in the left column, as nothing tells them from
/// others. If the function's items were short in an earlier map, this thread runs each item itself until the items seem
/// worth sharing. Otherwise, or from then on, `collect` and `for_each` start each item at once while a worker is idle,
/// and read ahead only as far as keeps the workers busy. So the iterator may wait for the results of the items that it
/// has given. `reduce`, `sum` and `fold` read a window first if the iterator is fast: 1,024 items, then more each time,
/// up to 65,536 (`fold`: 524,288). Maps with [`chunks`](Self::chunks) and maps in worker processes always do.
///
/// A zip ends with the shorter of its parts. What the longer one has left is dropped when the map ends.
///
/// A map can be the items of another: `g::map(f::map(items))` runs both functions in one pass, as [`then`](Self::then)
/// does, with the options and on the pool of the outer one. Where the outer map is iterated, the inner function runs
/// inside `next()`. It panics for a function in worker processes, or with state of its workers.
///
/// # Filtering and searching
///
/// [`filter`](Self::filter), [`filter_map`](Self::filter_map) and [`flat_map`](Self::flat_map) run on the workers, in
/// the same pass; so do [`zip`](Self::zip) and [`enumerate`](Self::enumerate). They make a map that
/// [`collect`](Self::collect)s into any collection, and ends as `Iterator` does: `count`, `any`, `all`, `find_first`,
/// `min_by_key`, `partition`, `unzip`. The results of a map with a [`timeout`](Self::timeout), or of an `async fn`,
/// arrive on the calling thread: there its adaptors run, which are those of its iterator, or those of `Stream`.
///
/// # Cancelling
///
/// A map inside a task is a part of it. When the task is [cancelled](crate::Task::cancel), no further item starts,
/// items that run see [`cancelled()`](crate::cancelled), and the task ends as
/// [`TaskError::Cancelled`](crate::TaskError::Cancelled). When the map's pool is [killed](crate::Pool::kill), no
/// further item starts, and the map panics as on a closed pool.
#[doc(alias = "par_iter")]
#[doc(alias = "imap")]
#[must_use = "a map is lazy: end it with `collect`, `for_each`, `reduce` or `sum`, or iterate it"]
pub struct Map<S, F, A> {
    core: CoreRef,
    /// The function's name, for errors and the cost history.
    name: &'static str,
    source: S,
    function: F,
    grain: Grain,
    unordered: bool,
    buffer: Option<usize>,
    options: TaskOptions,
    label: Option<&'static str>,
    _items: PhantomData<fn(A)>,
}

impl<S, F, A> fmt::Debug for Map<S, F, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").field("function", &self.name).finish_non_exhaustive()
    }
}

/// A map of an annotated function.
pub(crate) fn of_function<S, F, A, R>(
    core: CoreRef,
    name: &'static str,
    proof: CallProof<A, R>,
    source: S,
    function: F,
) -> Map<S, AnnotatedFn<F, A, R>, A>
where
    S: Source<Item = A>,
    F: ItemFn<A, R>,
{
    Map::new(core, name, source, AnnotatedFn::new(function, proof))
}

/// A map of an annotated method, on one receiver.
pub(crate) fn of_method<S, F, T, R>(
    core: &'static Arc<Core>,
    name: &'static str,
    proof: CallProof<T, R>,
    receiver: T::Receiver,
    source: S,
    function: F,
) -> Map<S, MethodFn<T, F, R>, T::Others>
where
    T: Method,
    T::Receiver: SharedReceiver,
    S: Source<Item = T::Others>,
    F: Fn(T) -> R + Send + Sync,
{
    Map::new(core, name, source, MethodFn::new(receiver, function, proof))
}

impl<S, F, A> Map<S, F, A> {
    /// A map of the function with this name, on a pool.
    pub(crate) fn new(core: impl Into<CoreRef>, name: &'static str, source: S, function: F) -> Self {
        Self {
            core: core.into(),
            name,
            source,
            function,
            grain: Grain::Adaptive,
            unordered: false,
            buffer: None,
            options: TaskOptions::default(),
            label: None,
            _items: PhantomData,
        }
    }

    /// Makes each item run on a worker that has state for the function.
    pub(crate) fn stateful(mut self) -> Self {
        self.options.own_worker = true;
        self
    }

    /// This map with another function.
    fn with_function<G>(self, wrap: impl FnOnce(F) -> G) -> Map<S, G, A> {
        self.with(|source, function| (source, wrap(function)))
    }

    /// This map of other items, with a function of those.
    fn with<T, G, B>(self, wrap: impl FnOnce(S, F) -> (T, G)) -> Map<T, G, B> {
        let (source, function) = wrap(self.source, self.function);
        Map {
            core: self.core,
            name: self.name,
            source,
            function,
            grain: self.grain,
            unordered: self.unordered,
            buffer: self.buffer,
            options: self.options,
            label: self.label,
            _items: PhantomData,
        }
    }

    fn with_time_limit(mut self, limit: Duration) -> Self {
        self.options = TaskOptions { timeout: Some(limit), own_worker: true };
        self
    }
}

impl<S, F, A> Map<S, F, A>
where
    S: Source<Item = A>,
    F: MapFn<A>,
{
    /// This map on another pool.
    pub(crate) fn with_core(mut self, core: &Arc<Core>) -> Self {
        let core = match self.function.runs_in_processes() {
            Some(true) => core.with_processes(self.name),
            Some(false) => core.with_threads(self.name),
            None => core,
        };
        self.core = Arc::clone(core).into();
        self
    }
}
