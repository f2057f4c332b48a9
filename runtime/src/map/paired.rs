//! [`Map::zip`] and [`Map::enumerate`]: items of another source beside the results of a map.

#[cfg(feature = "process")]
use std::cell::RefCell;
#[cfg(feature = "process")]
use std::collections::VecDeque;
#[cfg(feature = "process")]
use std::ops::ControlFlow;

#[cfg(feature = "process")]
use super::process::ProcessBatches;
use super::progress::ProgressFn;
use super::zipped::ZipSource;
use super::{Items, Map, MapFn, Source};
#[cfg(feature = "process")]
use crate::error::TaskError;
use crate::task::send_proof::CallProof;

impl<S, F, A> Map<S, F, A>
where
    S: Source<Item = A>,
    F: MapFn<A>,
{
    /// Puts an item of `others` beside each result. It ends with the shorter of both, as [`zip`](crate::zip) of the
    /// items does, and workers take items by index where both sides can be taken so.
    ///
    /// # Examples
    ///
    /// ```
    /// let lengths: Vec<(usize, char)> = fanfold::map(["a", "bb"], str::len).zip(['x', 'y']).collect();
    /// assert_eq!(lengths, [(1, 'x'), (2, 'y')]);
    /// ```
    #[allow(clippy::type_complexity, reason = "the parts that cannot be named are in it")]
    pub fn zip<I, B, M>(self, others: I) -> Map<ZipSource<S, I::Source>, impl MapFn<(A, B), Out = (F::Out, B)>, (A, B)>
    where
        I: Items<B, M>,
        B: Send,
    {
        self.with(|source, function| (ZipSource(source, others.into_source()), Beside(function)))
    }

    /// Puts the number of its item before each result, from 0 on.
    ///
    /// # Examples
    ///
    /// ```
    /// let lengths: Vec<(usize, usize)> = fanfold::map(["a", "bb"], str::len).enumerate().collect();
    /// assert_eq!(lengths, [(0, 1), (1, 2)]);
    /// ```
    #[allow(clippy::type_complexity, reason = "the parts that cannot be named are in it")]
    pub fn enumerate(
        self,
    ) -> Map<impl Source<Item = (A, usize)>, impl MapFn<(A, usize), Out = (usize, F::Out)>, (A, usize)>
    where
        F::Out: Send,
    {
        self.zip(0_usize..).then(|(result, number)| (number, result))
    }
}

/// A function of the first value of a pair.
struct Beside<F>(F);

impl<A, B: Send, F: MapFn<A>> MapFn<(A, B)> for Beside<F> {
    type Out = (F::Out, B);

    #[inline]
    fn call(&self, (item, other): (A, B)) -> Self::Out {
        (self.0.call(item), other)
    }

    fn call_proof(&self) -> CallProof<(A, B), Self::Out> {
        let _proof = self.0.call_proof();
        // SAFETY: items and results may cross by the proof above, and the values beside them are `Send`.
        unsafe { CallProof::new_unchecked() }
    }

    fn runs_in_processes(&self) -> Option<bool> {
        self.0.runs_in_processes()
    }

    #[cfg(feature = "process")]
    fn process_batches(&self) -> Option<&dyn ProcessBatches<(A, B), Self::Out>> {
        self.0.process_batches().map(|_| self as &dyn ProcessBatches<_, _>)
    }

    fn on_progress(&self) -> Option<ProgressFn<'_>> {
        self.0.on_progress()
    }
}

/// The other values stay in this process.
#[cfg(feature = "process")]
impl<A, B: Send, F: MapFn<A>> ProcessBatches<(A, B), (F::Out, B)> for Beside<F> {
    fn name(&self) -> &'static str {
        self.0.process_batches().map_or("", ProcessBatches::name)
    }

    fn run(
        &self,
        start: Option<usize>,
        next: &mut dyn FnMut() -> Option<(A, B)>,
        give: &mut dyn FnMut((F::Out, B)) -> ControlFlow<()>,
    ) {
        let Some(first) = self.0.process_batches() else { return };
        let others = RefCell::new(VecDeque::new());
        first.run(start, &mut || keep_other(next, &others), &mut |result| match others.borrow_mut().pop_front() {
            Some(other) => give((result, other)),
            None => ControlFlow::Break(()),
        });
    }

    fn outcomes(
        &self,
        start: Option<usize>,
        next: &mut dyn FnMut() -> Option<(A, B)>,
        give: &mut dyn FnMut(Result<(F::Out, B), TaskError>) -> ControlFlow<()>,
    ) {
        let Some(first) = self.0.process_batches() else { return };
        let others = RefCell::new(VecDeque::new());
        first.outcomes(
            start,
            &mut || keep_other(next, &others),
            &mut |outcome| match others.borrow_mut().pop_front() {
                Some(other) => give(outcome.map(|result| (result, other))),
                None => ControlFlow::Break(()),
            },
        );
    }
}

/// The next item. What stands beside it is kept until its result comes.
#[cfg(feature = "process")]
fn keep_other<A, B>(next: &mut dyn FnMut() -> Option<(A, B)>, others: &RefCell<VecDeque<B>>) -> Option<A> {
    let (item, other) = next()?;
    others.borrow_mut().push_back(other);
    Some(item)
}
