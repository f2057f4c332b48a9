//! `for_each_init` and `for_each_with`: each worker has state of its own while it runs a map's items.

use std::convert::Infallible;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard};

use super::block_run::{BlockRun, BlockWork};
#[cfg(feature = "process")]
use super::process::ProcessRun;
use super::progress::Bar;
use super::{Map, MapFn, MapWorkers, Source};
use crate::sys::{mutex, reserve};

impl<S, F, A> Map<S, F, A>
where
    S: Source<Item = A>,
    F: MapFn<A>,
{
    /// As [`for_each`](Self::for_each), with state that `init` makes: at most once for each worker, unless `op` or the
    /// function itself runs another map or waits. A state is for one result at a time.
    ///
    /// # Panics
    ///
    /// As `for_each`, and with the payload of `init`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::mpsc;
    ///
    /// let (sender, receiver) = mpsc::channel();
    /// let buffer = || (String::new(), sender.clone());
    /// fanfold::map(0..100, |n: u32| n * n).for_each_init(buffer, |(text, sender), square| {
    ///     text.clear();
    ///     text.push_str(&square.to_string());
    ///     sender.send(text.len()).expect("the receiver is open");
    /// });
    /// drop(sender);
    /// assert_eq!(receiver.iter().sum::<usize>(), 354);
    /// ```
    #[doc(alias = "map_init")]
    #[track_caller]
    pub fn for_each_init<T, I, O>(self, init: I, op: O)
    where
        T: Send,
        I: Fn() -> T + Sync,
        O: Fn(&mut T, F::Out) + Sync,
    {
        let proof = self.function.call_proof();
        let bar = Bar::new(self.label, self.function.on_progress(), self.source.count());
        let states = Mutex::new(Vec::new());
        let function = &self.function;
        let call = |state: &mut T, item| op(state, function.call(item));
        let work = WorkWithState { init, op: call, states };
        #[cfg(feature = "process")]
        if let Some(function) = function.process_batches() {
            let accept = |result| {
                let mut state = work.state();
                op(&mut state, result);
                work.put_back(state);
                Ok::<(), Infallible>(())
            };
            let run = ProcessRun { core: &self.core, function, grain: self.grain, bar: bar.as_ref(), accept };
            let Ok(_) = run.collect(self.source);
            bar.iter().for_each(Bar::finish);
            return;
        }
        let run = BlockRun {
            workers: MapWorkers::begin(&self.core, self.options.own_worker),
            name: self.name,
            grain: self.grain,
            bar: bar.as_ref(),
            can_stop: false,
        };
        // SAFETY: states are `Send` and reached under a lock; functions are `Sync`.
        let Ok(()) = unsafe { run.run(self.source, proof, &work) };
        bar.iter().for_each(Bar::finish);
    }

    /// As [`for_each_init`](Self::for_each_init), with clones of `state`.
    ///
    /// # Panics
    ///
    /// As `for_each_init`.
    ///
    /// # Examples
    ///
    /// ```
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// fanfold::map(1..=4, |n: u32| n * n).for_each_with(sender, |sender, square| {
    ///     sender.send(square).expect("the receiver is open");
    /// });
    /// assert_eq!(receiver.iter().sum::<u32>(), 30);
    /// ```
    #[track_caller]
    pub fn for_each_with<T, O>(self, state: T, op: O)
    where
        T: Clone + Send + Sync,
        O: Fn(&mut T, F::Out) + Sync,
    {
        self.for_each_init(|| state.clone(), op);
    }
}

/// An operation with state, of which there are as many as blocks run at once.
struct WorkWithState<I, O, T> {
    init: I,
    op: O,
    /// Those that no block uses now.
    states: Mutex<Vec<T>>,
}

impl<T, I: Fn() -> T, O> WorkWithState<I, O, T> {
    fn state(&self) -> T {
        let unused = self.lock().pop();
        unused.unwrap_or_else(&self.init)
    }

    fn put_back(&self, state: T) {
        reserve::lock_with_capacity(|| self.lock(), |states| states, 1).push(state);
    }
}

impl<I, O, T> WorkWithState<I, O, T> {
    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        mutex::lock(&self.states)
    }
}

impl<A, T, I: Fn() -> T, O: Fn(&mut T, A)> BlockWork<A> for WorkWithState<I, O, T> {
    type State = T;
    type Stop = Infallible;

    fn begin(&self, _: usize) -> T {
        self.state()
    }

    #[inline]
    fn run(&self, state: &mut T, item: A) -> Result<(), Infallible> {
        (self.op)(state, item);
        Ok(())
    }

    fn end(&self, _: Range<usize>, state: T) {
        self.put_back(state);
    }
}
