//! [`FlatMap::collect`]: the results of items that give any number of them, in input order.
//!
//! Each block of items has a list of results, and the lists are joined at the end.

use std::ops::Range;

use super::block_run::{BlockLists, BlockRun, BlockWork};
#[cfg(feature = "process")]
use super::process::ProcessRun;
use super::progress::Bar;
use super::run::finish_collect;
use super::stage::Stage;
use super::value_list::ValueList;
use super::{Collect, FlatMap, MapFn, MapWorkers, Source};
use crate::sys::drop_all::DropEach;

impl<S, F, A, P> FlatMap<S, F, A, P>
where
    S: Source<Item = A>,
    F: MapFn<A>,
    P: Stage<F::Out>,
{
    /// Runs the map and collects its results, in input order. Into a `Result` or `Option`, as
    /// [`Map::collect`](super::Map::collect) it returns the first failure and stops.
    ///
    /// # Panics
    ///
    /// With the payload of one of the functions if it panics: no further item starts, and the results so far are
    /// dropped. And if the pool is closed before all items have run.
    #[track_caller]
    pub fn collect<C: Collect<P::Out>>(self) -> C
    where
        P::Out: Send,
    {
        let Self { map, stage } = self;
        let proof = map.function.call_proof();
        let bar = Bar::new(map.label, map.function.on_progress(), map.source.count());
        let accept = |result, list: &mut Vec<C::Value>| stage.collect::<C>(result, list);
        #[cfg(feature = "process")]
        if let Some(function) = map.function.process_batches() {
            let accept = |result| {
                let mut list = DropEach(Vec::new());
                accept(result, &mut list.0).map(|()| list.into_vec())
            };
            let run = ProcessRun { core: &map.core, function, grain: map.grain, bar: bar.as_ref(), accept };
            let results = run.collect(map.source).map(|lists| lists.into_iter().flatten().collect());
            let results = results.map(C::Values::from_values);
            return finish_collect(results, bar.as_ref());
        }
        let run = BlockRun {
            workers: MapWorkers::begin(&map.core, map.options.own_worker),
            name: map.name,
            grain: map.grain,
            bar: bar.as_ref(),
            can_stop: C::CAN_STOP,
        };
        let function = &map.function;
        let work = Lists {
            push: |item, list: &mut Vec<C::Value>| accept(function.call(item), list),
            lists: BlockLists::new(),
        };
        // SAFETY: values and reasons are made of results of the stage, which are `Send`, as `Collect` promises. Lists
        // are reached under a lock; functions and stages are `Sync`.
        let done = unsafe { run.run(map.source, proof, &work) };
        finish_collect(done.map(|()| C::Values::from_values(work.lists.into_results())), bar.as_ref())
    }
}

/// Pushes the results of each item to the list of its block.
struct Lists<G, T> {
    push: G,
    lists: BlockLists<T>,
}

impl<A, T, E, G: Fn(A, &mut Vec<T>) -> Result<(), E>> BlockWork<A> for Lists<G, T> {
    type State = DropEach<T>;
    type Stop = E;

    #[inline]
    fn begin(&self, items: usize) -> DropEach<T> {
        self.lists.list(items)
    }

    #[inline]
    fn run(&self, list: &mut DropEach<T>, item: A) -> Result<(), E> {
        (self.push)(item, &mut list.0)
    }

    #[inline]
    fn end(&self, items: Range<usize>, list: DropEach<T>) {
        self.lists.add(items, list);
    }
}
