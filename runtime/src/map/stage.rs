//! [`Stage`]: what a [`FlatMap`](super::FlatMap) makes of each result of its function, such as `filter`.
//!
//! A stage passes results on one by one (as `Iterator::try_fold` does) instead of returning an iterator of them. So
//! stages in a row compile to one loop, and no iterator needs to borrow a stage.

use std::convert::Infallible;

use super::Collect;

/// Makes any number of results of one.
pub trait Stage<R>: Sync {
    /// The type of what it makes.
    type Out;
    /// Folds what it makes of `result` with `each`, in order and until that fails.
    ///
    /// # Errors
    ///
    /// That of `each`.
    fn try_fold<B, E>(&self, result: R, folded: B, each: &mut impl FnMut(B, Self::Out) -> Result<B, E>)
    -> Result<B, E>;
    /// As [`try_fold`](Self::try_fold), where nothing fails.
    #[inline]
    fn fold<B>(&self, result: R, folded: B, mut each: impl FnMut(B, Self::Out) -> B) -> B {
        let Ok(folded) = self.try_fold(result, folded, &mut |folded, result| Ok::<B, Infallible>(each(folded, result)));
        folded
    }
    /// Pushes what it makes of `result` to a list of a collection's values, until one is refused.
    ///
    /// # Errors
    ///
    /// The refused value, as the collection reports it.
    #[inline]
    fn collect<C: Collect<Self::Out>>(&self, result: R, values: &mut Vec<C::Value>) -> Result<(), C::Stop> {
        self.try_fold(result, (), &mut |(), result| {
            values.push(C::accept(result)?);
            Ok(())
        })
    }
}

/// Passes on those results for which a predicate holds.
pub(super) struct Filter<P>(pub(super) P);

impl<R, P: Fn(&R) -> bool + Sync> Stage<R> for Filter<P> {
    type Out = R;

    #[inline]
    fn try_fold<B, E>(&self, result: R, folded: B, each: &mut impl FnMut(B, R) -> Result<B, E>) -> Result<B, E> {
        if (self.0)(&result) { each(folded, result) } else { Ok(folded) }
    }
}

/// Passes on what a function makes of a result, all items of it. An `Option` has one or none.
pub(super) struct Flatten<G>(pub(super) G);

impl<R, I: IntoIterator, G: Fn(R) -> I + Sync> Stage<R> for Flatten<G> {
    type Out = I::Item;

    #[inline]
    fn try_fold<B, E>(&self, result: R, folded: B, each: &mut impl FnMut(B, I::Item) -> Result<B, E>) -> Result<B, E> {
        (self.0)(result).into_iter().try_fold(folded, each)
    }

    /// All items of one result at once: the list looks for room once, not for each.
    #[inline]
    fn collect<C: Collect<I::Item>>(&self, result: R, values: &mut Vec<C::Value>) -> Result<(), C::Stop> {
        C::extend(values, (self.0)(result))
    }
}

/// Two stages, one after the other.
pub(super) struct Chain<P, Q>(pub(super) P, pub(super) Q);

impl<R, P: Stage<R>, Q: Stage<P::Out>> Stage<R> for Chain<P, Q> {
    type Out = Q::Out;

    #[inline]
    fn try_fold<B, E>(&self, result: R, folded: B, each: &mut impl FnMut(B, Q::Out) -> Result<B, E>) -> Result<B, E> {
        self.0.try_fold(result, folded, &mut |folded, result| self.1.try_fold(result, folded, &mut *each))
    }

    #[inline]
    fn collect<C: Collect<Q::Out>>(&self, result: R, values: &mut Vec<C::Value>) -> Result<(), C::Stop> {
        self.0.try_fold(result, (), &mut |(), result| self.1.collect::<C>(result, values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_pass_results_on_in_order_until_one_is_refused() {
        let stages = Chain(Flatten(|n: u32| 0..n), Filter(|n: &u32| n % 2 == 1));
        let mut seen = Vec::new();
        let refused = stages.try_fold(10, 0, &mut |sum, n| {
            seen.push(n);
            if n > 4 { Err(sum) } else { Ok(sum + n) }
        });
        assert_eq!((refused, seen), (Err(4), vec![1, 3, 5]));
        assert_eq!(stages.fold(6, 0, |sum, n| sum + n), 1 + 3 + 5);
    }
}
