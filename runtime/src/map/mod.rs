//! [`Map`]: the builder behind `f::map(items)`.

mod collect;
mod first_error;
mod function;
mod indexed;
mod iter;
pub(crate) mod method;
mod on_pool;
mod output;
#[cfg(feature = "process")]
mod process;
pub(crate) mod progress;
mod reduce;
mod schedule;
mod source;
mod timeout;

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::pool::{Core, CoreRef};
use crate::task::send_proof::CallProof;
use crate::task::slot::TaskOptions;
use method::{Method, Receiver};
use progress::Bar;

pub use collect::Collect;
#[cfg(feature = "process")]
pub(crate) use function::Batched;
pub use function::{Closure, Detach, MapFn, On};
pub use iter::MapIter;
#[cfg(feature = "process")]
pub(crate) use process::Batches;
pub use source::{Items, PoolItems, Source};
pub use timeout::TimedMap;

pub(crate) use collect::Run;
#[cfg(feature = "polars")]
pub(crate) use collect::pool_was_closed;
pub(crate) use schedule::{Grain, Hands};

use function::Bare;
#[cfg(feature = "process")]
use process::BatchRun;

/// A function to be applied to many items at once; `name::map(items)` of an annotated function gives one.
///
/// Nothing runs until it is ended by [`collect`](Self::collect), [`for_each`](Self::for_each),
/// [`reduce`](Self::reduce) or [`sum`](Self::sum), or iterated. Results come in input order. Without options the size of the pieces is found at run time: the calling thread starts at once,
/// and calls the pool only when there is work worth sharing, so a short map costs what a loop costs.
///
/// `collect` and its like read an iterator that is no range ahead: 1,024 items, then twice as many each time, up to
/// 65,536. Where items come slowly, or depend on earlier results, iterate the map instead, with a
/// [`buffer`](Self::buffer).
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
#[must_use = "a map is lazy: end it with `collect`, `for_each`, `reduce` or `sum`, or iterate it"]
pub struct Map<S, F, A> {
    core: CoreRef,
    /// The function's path, for errors.
    name: &'static str,
    source: S,
    function: F,
    grain: Grain,
    unordered: bool,
    buffer: Option<usize>,
    terms: TaskOptions,
    label: Option<&'static str>,
    _items: PhantomData<fn(A)>,
}

/// A map of an annotated function.
pub(crate) fn of_function<S, F, A, R>(
    core: &'static Arc<Core>,
    name: &'static str,
    proof: CallProof<A, R>,
    source: S,
    function: F,
) -> Map<S, impl Detach<A, Out = R> + use<S, F, A, R>, A>
where
    S: Source<Item = A>,
    F: Fn(A) -> R + Send + Sync,
{
    Map::new(core, name, source, Bare::new(function, proof))
}

/// A map of an annotated method, on one receiver.
pub(crate) fn of_method<S, F, T, R>(
    core: &'static Arc<Core>,
    name: &'static str,
    proof: CallProof<T, R>,
    receiver: T::Receiver,
    source: S,
    function: F,
) -> Map<S, On<T, F, R>, T::Rest>
where
    T: Method,
    T::Receiver: Receiver,
    S: Source<Item = T::Rest>,
    F: Fn(T) -> R + Send + Sync,
{
    Map::new(core, name, source, On::new(receiver, function, proof))
}

impl<S, F, A> Map<S, F, A> {
    /// A map on a pool, of the function with this name.
    pub(crate) fn new(core: impl Into<CoreRef>, name: &'static str, source: S, function: F) -> Self {
        Self {
            core: core.into(),
            name,
            source,
            function,
            grain: Grain::Adaptive,
            unordered: false,
            buffer: None,
            terms: TaskOptions::default(),
            label: None,
            _items: PhantomData,
        }
    }

    /// Has each item run on a worker that keeps state for the function.
    pub(crate) fn stateful(mut self) -> Self {
        self.terms.own_worker = true;
        self
    }

    fn with_limit(mut self, limit: Duration) -> Self {
        self.terms = TaskOptions { timeout: Some(limit), own_worker: true };
        self
    }
}

impl<S, F, A> Map<S, F, A>
where
    S: Source<Item = A>,
    F: MapFn<A>,
{
    /// Hands out `items` at a time, instead of finding the number at run time.
    ///
    /// Fewer where less is there: of an iterator that is no range, what is read ahead; and when the map is iterated with
    /// a [`buffer`](Self::buffer), that divided by twice the number of workers, so that all of them have some. `reduce`
    /// and `sum` have blocks of their own.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::Pool;
    ///
    /// let squares: Vec<u64> = Pool::cpu_default().map(0..10_u64, |n| n * n).chunk_size(4).collect();
    /// assert_eq!(squares[9], 81);
    /// ```
    ///
    /// # Panics
    ///
    /// If `items` is 0.
    pub fn chunk_size(mut self, items: usize) -> Self {
        assert!(items > 0, "a chunk of 0 items would never end: give `chunk_size` at least 1");
        self.grain = Grain::Size(items);
        self
    }

    /// Hands the items out in `chunks` balanced pieces.
    ///
    /// An iterator that is no range has no known length: there, each part that is read ahead is cut so. It changes
    /// nothing when the map is iterated, nor for `reduce` and `sum`.
    ///
    /// # Panics
    ///
    /// If `chunks` is 0.
    pub fn chunks(mut self, chunks: usize) -> Self {
        assert!(chunks > 0, "nothing can be cut into 0 chunks: give `chunks` at least 1");
        self.grain = Grain::Blocks(chunks);
        self
    }

    /// Gives results as they end, whichever comes first, when the map is iterated. `collect` keeps input order.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::Pool;
    ///
    /// let mut lengths: Vec<usize> = Pool::io_default().map(["a", "bcd"], str::len).unordered().into_iter().collect();
    /// lengths.sort_unstable(); // in any order
    /// assert_eq!(lengths, [1, 3]);
    /// ```
    pub fn unordered(mut self) -> Self {
        self.unordered = true;
        self
    }

    /// When the map is iterated, lets `items` be in flight: pulled from the source, and their results not yet taken.
    /// Unless said, as many as keep the workers busy.
    ///
    /// # Panics
    ///
    /// If `items` is 0.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::Pool;
    ///
    /// // An infinite source, never pulled further than 8 items ahead.
    /// let squares = Pool::cpu_default().map(0_u64.., |n| n * n).buffer(8);
    /// assert_eq!(squares.into_iter().take(4).collect::<Vec<_>>(), [0, 1, 4, 9]);
    /// ```
    pub fn buffer(mut self, items: usize) -> Self {
        assert!(items > 0, "with 0 items in flight nothing would ever run: give `buffer` at least 1");
        self.buffer = Some(items);
        self
    }

    /// Shows a bar with this label, on a terminal and with the feature `progress`.
    pub fn progress(mut self, label: &'static str) -> Self {
        self.label = Some(label);
        self
    }

    /// The same map with another function.
    fn with_function<G>(self, wrap: impl FnOnce(F) -> G) -> Map<S, G, A> {
        Map {
            core: self.core,
            name: self.name,
            source: self.source,
            function: wrap(self.function),
            grain: self.grain,
            unordered: self.unordered,
            buffer: self.buffer,
            terms: self.terms,
            label: self.label,
            _items: PhantomData,
        }
    }

    /// The same map on another pool's core.
    pub(crate) fn with_core(mut self, core: &Arc<Core>) -> Self {
        let core = match self.function.is_abroad() {
            Some(true) => core.with_processes(self.name),
            Some(false) => core.with_threads(self.name),
            None => core,
        };
        self.core = Arc::clone(core).into();
        self
    }

    /// Runs the function on all items and collects the results, in input order.
    ///
    /// Into a `Result` or `Option`, the first failure in input order is what comes back; items behind it that
    /// workers had begun by then may have run, a block for each worker at most.
    ///
    /// # Panics
    ///
    /// With the function's own payload if it panics: no further item is started, and what had been computed is
    /// dropped. And if the pool is closed before all items have run.
    pub fn collect<C: Collect<F::Out>>(self) -> C {
        let proof = self.function.call_proof();
        let bar = Bar::new(self.label, self.source.count());
        #[cfg(feature = "process")]
        if let Some(function) = self.function.batches() {
            let run = BatchRun { core: &self.core, function, grain: self.grain, bar: bar.as_ref(), keep: C::keep };
            return C::finish(run.collect(self.source));
        }
        let run = Run {
            hands: Hands::of(&self.core, self.terms.own_worker),
            name: self.name,
            grain: self.grain,
            bar: bar.as_ref(),
            call: |item| self.function.call(item),
            keep: C::keep,
            stops: C::STOPS,
        };
        C::finish(run.collect(self.source, proof))
    }

    /// Runs the function on all items, and `op` on each result: on the worker that has it, in no order.
    ///
    /// # Panics
    ///
    /// As [`collect`](Self::collect), and with the payload of `op`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    /// use fanfold::Pool;
    ///
    /// let letters = AtomicUsize::new(0);
    /// Pool::cpu_default().map(["one", "three"], str::len).for_each(|length| {
    ///     letters.fetch_add(length, Ordering::Relaxed);
    /// });
    /// assert_eq!(letters.into_inner(), 8);
    /// ```
    pub fn for_each(self, op: impl Fn(F::Out) + Sync) {
        let proof = self.function.call_proof();
        let bar = Bar::new(self.label, self.source.count());
        let keep = |result| {
            op(result);
            Ok::<(), std::convert::Infallible>(())
        };
        #[cfg(feature = "process")]
        if let Some(function) = self.function.batches() {
            let run = BatchRun { core: &self.core, function, grain: self.grain, bar: bar.as_ref(), keep };
            let Ok(_) = run.collect(self.source);
            return;
        }
        let run = Run {
            hands: Hands::of(&self.core, self.terms.own_worker),
            name: self.name,
            grain: self.grain,
            bar: bar.as_ref(),
            call: |item| self.function.call(item),
            keep,
            stops: false,
        };
        let Ok(_) = run.collect(self.source, proof);
    }
}
