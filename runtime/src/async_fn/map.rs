//! [`AsyncMap`]: an async function over many items, with a bounded number of futures in flight.

use std::fmt;
use std::future::{Future, poll_fn};
use std::iter::{Fuse, FusedIterator};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use futures_util::stream::{FuturesOrdered, FuturesUnordered};

use super::{TimedFuture, runtime};
use crate::error::TaskError;
use crate::map::iterated_ends::iterated_ends;
use crate::map::progress::{Bar, ProgressFn};
use crate::map::{Collect, Source, ValueList};

/// The default bound of futures in flight.
const BUFFER: usize = 256;

/// An async function, as a map calls it.
///
/// A trait of its own, because `impl Fn(A) -> impl Future` cannot be written.
#[diagnostic::on_unimplemented(
    message = "this future cannot be sent to another thread",
    label = "its future is not `Send`",
    note = "what it holds across an `.await` must be `Send`"
)]
pub trait MapFuture<A>: Send + Sync {
    /// The output of its future.
    type Out;
    /// Its future.
    type Future: Future<Output = Self::Out> + Send;
    /// Makes the future for an item.
    fn call(&self, item: A) -> Self::Future;
}

impl<A, F, Fut> MapFuture<A> for F
where
    F: Fn(A) -> Fut + Send + Sync,
    Fut: Future + Send,
{
    type Out = Fut::Output;
    type Future = Fut;

    fn call(&self, item: A) -> Fut {
        self(item)
    }
}

/// A lazy run of an async function over many items; `name::map(items)` of an annotated `async fn` makes one.
///
/// Its futures are polled where it is ended, by the thread or task that ends it, [`buffer`](Self::buffer) of them at
/// once: so items may borrow, and waiting costs no threads. Heavy computation belongs in a function of `kind = "cpu"`,
/// whose task an async function can await. In async code end it with [`collect_async`](Self::collect_async) or
/// [`stream`](Self::stream); elsewhere with [`collect`](Self::collect), [`for_each`](Self::for_each), or by iterating
/// it.
///
/// In the signatures below `S` stands for the items, `F` for the function, `A` for its argument and `F::Out` for the
/// output of its futures. `Source` and `MapFuture` are internal traits, which the items and function of every map have.
///
/// # Examples
///
/// ```
/// use fanfold::parallel;
///
/// #[parallel(kind = "io")]
/// async fn fetch(page: usize) -> String {
///     // an HTTP client would await its response here
///     format!("page {page}")
/// }
///
/// let pages: Vec<String> = fetch::map(0..200).buffer(50).collect();
/// assert_eq!(pages[199], "page 199");
/// assert_eq!(fetch::map(0..200).find_first(|page| page.ends_with('7')).as_deref(), Some("page 7"));
/// ```
#[must_use = "a map is lazy: end it with `collect`, `for_each` or `stream`, or iterate it"]
pub struct AsyncMap<S, F, A> {
    source: S,
    function: F,
    unordered: bool,
    buffer: usize,
    label: Option<&'static str>,
    report: Option<ProgressFn<'static>>,
    _items: PhantomData<fn(A)>,
}

impl<S, F, A> AsyncMap<S, F, A>
where
    S: Source<Item = A>,
    F: MapFuture<A>,
{
    pub(crate) fn new(source: S, function: F, label: Option<&'static str>) -> Self {
        Self { source, function, unordered: false, buffer: BUFFER, label, report: None, _items: PhantomData }
    }

    /// Sets the most futures in flight: those started whose results were not yet returned. The default is 256.
    ///
    /// # Panics
    ///
    /// If `futures` is 0.
    #[doc(alias = "Semaphore")]
    #[doc(alias = "buffered")]
    #[doc(alias = "for_each_concurrent")]
    #[doc(alias = "buffer_unordered")]
    #[doc(alias = "max_concurrency")]
    pub fn buffer(mut self, futures: usize) -> Self {
        assert!(futures > 0, "with 0 futures in flight nothing would ever run: give `buffer` at least 1");
        self.buffer = futures;
        self
    }

    /// Returns results in the order in which calls end, when the map is iterated or streamed. `collect` keeps input
    /// order.
    pub fn unordered(mut self) -> Self {
        self.unordered = true;
        self
    }

    /// Shows a progress bar with this label, on a terminal and with the feature `progress`.
    pub fn progress(mut self, label: &'static str) -> Self {
        self.label = Some(label);
        self
    }

    /// Calls `report` with the number of results returned, and with that of all items if it is known, on the thread
    /// that takes the results; otherwise as [`Map::on_progress`](crate::Map::on_progress).
    ///
    /// # Panics
    ///
    /// The map, or the poll of its stream, panics with the payload of `report`.
    pub fn on_progress(mut self, report: impl Fn(usize, Option<usize>) + Send + Sync + 'static) -> Self {
        self.report = Some(Arc::new(report));
        self
    }

    /// Limits each call to `limit`, counted from its first poll. The future of a call that takes longer is dropped, and
    /// its result is [`TaskError::TimedOut`](crate::TaskError::TimedOut).
    pub fn timeout(self, limit: Duration) -> AsyncMap<S, TimedFn<F>, A> {
        AsyncMap {
            source: self.source,
            function: TimedFn { function: self.function, limit },
            unordered: self.unordered,
            buffer: self.buffer,
            label: self.label,
            report: self.report,
            _items: PhantomData,
        }
    }

    /// The results as a stream, for async code: in input order, or with [`unordered`](Self::unordered) in order of
    /// their end. Dropping the stream drops the futures in flight.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::parallel;
    /// use futures_util::StreamExt;
    ///
    /// #[parallel(kind = "io")]
    /// async fn double(n: u32) -> u32 {
    ///     n * 2
    /// }
    ///
    /// # pollster::block_on(async {
    /// let doubled: Vec<u32> = double::map([1, 2, 3]).stream().collect().await;
    /// assert_eq!(doubled, [2, 4, 6]);
    /// # });
    /// ```
    pub fn stream(self) -> AsyncStream<S::Iter, F> {
        let in_flight = if self.unordered {
            FuturesInFlight::Unordered(FuturesUnordered::new())
        } else {
            FuturesInFlight::Ordered(FuturesOrdered::new())
        };
        let bar = Bar::new(self.label, self.report, self.source.count());
        AsyncStream {
            source: self.source.into_iter().fuse(),
            function: self.function,
            in_flight,
            buffer: self.buffer,
            bar,
        }
    }

    /// Waits for all results, in input order. Into a `Result` or `Option`, the first failure in input order ends the
    /// map: futures in flight are dropped, and no further item is pulled.
    ///
    /// # Panics
    ///
    /// With the function's own payload if it panics. On the only thread of an async runtime, which must not block: use
    /// [`collect_async`](Self::collect_async) there.
    pub fn collect<C: Collect<F::Out>>(self) -> C {
        runtime::block_on(self.collect_async())
    }

    /// As [`collect`](Self::collect), for async code: awaits all results. Dropping the future drops the futures in
    /// flight.
    ///
    /// # Panics
    ///
    /// With the function's own payload if it panics.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::parallel;
    ///
    /// #[parallel(kind = "io")]
    /// async fn double(n: u32) -> u32 {
    ///     n * 2
    /// }
    ///
    /// # pollster::block_on(async {
    /// let doubled: Vec<u32> = double::map([1, 2, 3]).collect_async().await;
    /// assert_eq!(doubled, [2, 4, 6]);
    /// # });
    /// ```
    pub async fn collect_async<C: Collect<F::Out>>(mut self) -> C {
        self.unordered = false;
        let mut results = self.stream();
        let mut kept = Vec::new();
        let kept = loop {
            match results.next().await.map(C::accept) {
                Some(Ok(value)) => kept.push(value),
                Some(Err(stop)) => break Err(stop),
                None => break Ok(kept),
            }
        };
        // A failure drops the futures in flight before it is returned.
        drop(results);
        C::finish(kept.map(C::Values::from_values))
    }

    /// Runs `op` on each result, on the calling thread: in input order, or with [`unordered`](Self::unordered) in order
    /// of their end.
    ///
    /// # Panics
    ///
    /// As [`collect`](Self::collect), and with the payload of `op`.
    pub fn for_each(self, mut op: impl FnMut(F::Out)) {
        let mut results = self.stream();
        runtime::block_on(async {
            while let Some(result) = results.next().await {
                op(result);
            }
        });
    }
}

/// Iterates over the results. `next()` waits for one, and pulls items as far as [`buffer`](AsyncMap::buffer) allows.
///
/// # Panics
///
/// In `next()`, as [`collect`](AsyncMap::collect).
impl<S, F, A> IntoIterator for AsyncMap<S, F, A>
where
    S: Source<Item = A>,
    F: MapFuture<A>,
{
    type Item = F::Out;
    type IntoIter = AsyncIter<S::Iter, F>;

    fn into_iter(self) -> Self::IntoIter {
        AsyncIter(self.stream())
    }
}

iterated_ends!(AsyncMap<S, F, A>, F::Out, S: Source<Item = A>, F: MapFuture<A>);

impl<S, F, A> fmt::Debug for AsyncMap<S, F, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncMap").field("buffer", &self.buffer).finish_non_exhaustive()
    }
}

/// The futures in flight.
enum FuturesInFlight<Fut: Future> {
    Ordered(FuturesOrdered<Fut>),
    Unordered(FuturesUnordered<Fut>),
}

impl<Fut: Future> FuturesInFlight<Fut> {
    fn len(&self) -> usize {
        match self {
            Self::Ordered(futures) => futures.len(),
            Self::Unordered(futures) => futures.len(),
        }
    }

    fn push(&mut self, future: Fut) {
        match self {
            Self::Ordered(futures) => futures.push_back(future),
            Self::Unordered(futures) => futures.push(future),
        }
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Fut::Output>> {
        match self {
            Self::Ordered(futures) => Pin::new(futures).poll_next(context),
            Self::Unordered(futures) => Pin::new(futures).poll_next(context),
        }
    }
}

/// The results of an async map, as a stream; [`AsyncMap::stream`] makes one. See [`AsyncMap`] for the bounds.
#[must_use = "it is a stream: poll it"]
pub struct AsyncStream<I: Iterator, F: MapFuture<I::Item>> {
    source: Fuse<I>,
    function: F,
    in_flight: FuturesInFlight<F::Future>,
    buffer: usize,
    bar: Option<Bar<'static>>,
}

impl<I: Iterator, F: MapFuture<I::Item>> AsyncStream<I, F> {
    fn advance(&mut self, context: &mut Context<'_>) -> Poll<Option<F::Out>> {
        let _entered = runtime::enter();
        while self.in_flight.len() < self.buffer {
            let Some(item) = self.source.next() else { break };
            self.in_flight.push(self.function.call(item));
        }
        let next = self.in_flight.poll_next(context);
        match &next {
            Poll::Ready(Some(_)) => self.bar.iter().for_each(|bar| bar.advance(1)),
            Poll::Ready(None) => self.bar.take().iter().for_each(Bar::finish),
            Poll::Pending => (),
        }
        next
    }

    /// Waits for the next result; `None` once all were given. It pulls items as far as [`buffer`](AsyncMap::buffer)
    /// allows.
    ///
    /// # Panics
    ///
    /// With the function's own payload if it panics.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::parallel;
    ///
    /// #[parallel(kind = "io")]
    /// async fn half(n: u32) -> u32 {
    ///     n / 2
    /// }
    ///
    /// # pollster::block_on(async {
    /// let mut halves = half::map([8, 6]).stream();
    /// assert_eq!(halves.next().await, Some(4));
    /// assert_eq!(halves.next().await, Some(3));
    /// assert_eq!(halves.next().await, None);
    /// # });
    /// ```
    pub async fn next(&mut self) -> Option<F::Out> {
        poll_fn(|context| self.advance(context)).await
    }
}

// The futures are pinned on the heap; nothing else is pinned.
impl<I: Iterator, F: MapFuture<I::Item>> Unpin for AsyncStream<I, F> {}

impl<I: Iterator, F: MapFuture<I::Item>> Stream for AsyncStream<I, F> {
    type Item = F::Out;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<F::Out>> {
        self.advance(context)
    }
}

impl<I: Iterator, F: MapFuture<I::Item>> fmt::Debug for AsyncStream<I, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncStream").field("in_flight", &self.in_flight.len()).finish_non_exhaustive()
    }
}

/// The results of an async map, as an iterator; made by iterating an [`AsyncMap`], whose documentation explains the
/// bounds.
pub struct AsyncIter<I: Iterator, F: MapFuture<I::Item>>(AsyncStream<I, F>);

impl<I: Iterator, F: MapFuture<I::Item>> Iterator for AsyncIter<I, F> {
    type Item = F::Out;

    fn next(&mut self) -> Option<F::Out> {
        runtime::block_on(self.0.next())
    }
}

impl<I: Iterator, F: MapFuture<I::Item>> FusedIterator for AsyncIter<I, F> {}

impl<I: Iterator, F: MapFuture<I::Item>> fmt::Debug for AsyncIter<I, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An async function whose calls have a time limit; [`AsyncMap::timeout`] makes one.
#[derive(Debug)]
pub struct TimedFn<F> {
    function: F,
    limit: Duration,
}

impl<A, F: MapFuture<A>> MapFuture<A> for TimedFn<F> {
    type Out = Result<F::Out, TaskError>;
    type Future = TimedFuture<F::Future>;

    fn call(&self, item: A) -> Self::Future {
        TimedFuture::new(self.function.call(item), self.limit)
    }
}
