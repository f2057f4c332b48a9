//! [`MapStream`] and [`FlatMapStream`]: a map as an async stream. It is a [`MapIter`] that awaits its tasks.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::vec;

use futures_core::Stream;

use super::flat_map_ends::list;
use super::source::Source;
use super::stage::Stage;
use super::{Detach, FlatMap, Map, MapIter};

/// An async stream of the results of a map; [`Map::stream`] makes one.
#[must_use = "it is a stream: poll it"]
pub struct MapStream<I: Iterator, R>(MapIter<I, R>);

impl<S, F, A> Map<S, F, A>
where
    S: Source<Item = A>,
    F: Detach<A>,
    A: 'static,
    F::Out: 'static,
{
    /// Turns the map into an async stream of the results: in input order, or with [`unordered`](Self::unordered) in the
    /// order of completion. It blocks no thread, and any executor can poll it.
    ///
    /// As in an iterated map, items are pulled as far as [`buffer`](Self::buffer) allows, so an infinite source works in
    /// constant memory. The poll pulls them, so the source must not block. Items and results must be owned. Dropping the
    /// stream cancels the tasks that have not started, and asks those that run to stop.
    ///
    /// # Examples
    ///
    /// ```
    /// # pollster::block_on(async {
    /// let mut squares = fanfold::map(1_u64.., |n: u64| n * n).buffer(16).stream();
    /// assert_eq!(squares.next().await, Some(1));
    /// assert_eq!(squares.next().await, Some(4));
    /// drop(squares); // stops the rest
    /// # });
    /// ```
    pub fn stream(self) -> MapStream<S::Iter, F::Out> {
        MapStream::new(self.into_iter())
    }
}

impl<I: Iterator, R> MapStream<I, R> {
    pub(super) fn new(results: MapIter<I, R>) -> Self {
        Self(results)
    }

    fn advance(&mut self, context: &mut Context<'_>) -> Poll<Option<R>> {
        self.0.advance(|in_flight| in_flight.poll_next(context))
    }

    /// Waits for the next result; `None` once all were given, also if it is asked again. Dropping the future before loses
    /// no result.
    ///
    /// # Panics
    ///
    /// With the function's own payload if it panics; and if the pool is closed before all items have run. No further
    /// item starts then.
    pub async fn next(&mut self) -> Option<R> {
        poll_fn(|context| self.advance(context)).await
    }
}

// Nothing is pinned.
impl<I: Iterator, R> Unpin for MapStream<I, R> {}

impl<I: Iterator, R> Stream for MapStream<I, R> {
    type Item = R;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<R>> {
        self.advance(context)
    }
}

impl<I: Iterator, R> fmt::Debug for MapStream<I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapStream").field("pending", &self.0.pending()).finish_non_exhaustive()
    }
}

/// An async stream of the results of a map with filters; [`FlatMap::stream`] makes one.
#[must_use = "it is a stream: poll it"]
pub struct FlatMapStream<I: Iterator, R> {
    /// The results of each item.
    lists: MapStream<I, Vec<R>>,
    /// Those of the last item that are left.
    results: vec::IntoIter<R>,
}

/// The most items without a result that one poll takes. A filter may keep nothing of an infinite source, and a poll that
/// goes on for ever would keep its thread from other tasks.
const MAX_EMPTY: usize = 1024;

impl<S, F, A, P> FlatMap<S, F, A, P>
where
    S: Source<Item = A>,
    F: Detach<A>,
    F::Out: 'static,
    A: 'static,
    P: Stage<F::Out> + Send + 'static,
    P::Out: Send + 'static,
{
    /// As [`Map::stream`].
    ///
    /// # Examples
    ///
    /// ```
    /// # pollster::block_on(async {
    /// let mut odd = fanfold::map(1_u64.., |n: u64| n * n).buffer(16).filter(|square| square % 2 == 1).stream();
    /// assert_eq!(odd.next().await, Some(1));
    /// assert_eq!(odd.next().await, Some(9));
    /// drop(odd); // stops the rest
    /// # });
    /// ```
    pub fn stream(self) -> FlatMapStream<S::Iter, P::Out> {
        let Self { map, stage } = self;
        let lists = map.then(move |result| list(&stage, result)).stream();
        FlatMapStream { lists, results: Vec::new().into_iter() }
    }
}

impl<I: Iterator, R> FlatMapStream<I, R> {
    fn advance(&mut self, context: &mut Context<'_>) -> Poll<Option<R>> {
        for _ in 0..MAX_EMPTY {
            if let Some(result) = self.results.next() {
                return Poll::Ready(Some(result));
            }
            match ready!(self.lists.advance(context)) {
                Some(list) => self.results = list.into_iter(),
                None => return Poll::Ready(None),
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// As [`MapStream::next`].
    ///
    /// # Panics
    ///
    /// As [`MapStream::next`], and with the payload of a filter.
    pub async fn next(&mut self) -> Option<R> {
        poll_fn(|context| self.advance(context)).await
    }
}

// Nothing is pinned.
impl<I: Iterator, R> Unpin for FlatMapStream<I, R> {}

impl<I: Iterator, R> Stream for FlatMapStream<I, R> {
    type Item = R;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<R>> {
        self.advance(context)
    }
}

impl<I: Iterator, R> fmt::Debug for FlatMapStream<I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlatMapStream").field("pending", &self.lists.0.pending()).finish_non_exhaustive()
    }
}
