//! [`MapFn`], the function of a map; and [`Detach`], its conversion for tasks that outlive the map's call.

#[cfg(feature = "process")]
use crate::process::backend::BackendId;
use std::marker::PhantomData;
use std::sync::Arc;

use super::method::{Method, SharedReceiver};
#[cfg(feature = "process")]
use super::process::ProcessBatches;
use super::progress::ProgressFn;
use crate::task::send_proof::{AssertSend, CallProof};

/// A function on items of type `A`.
///
/// A trait, because `impl Fn(A) -> impl Trait` cannot be written, and because it carries the [`CallProof`].
pub trait MapFn<A>: Sync {
    /// The type of its results.
    type Out;
    /// Calls the function.
    fn call(&self, item: A) -> Self::Out;
    /// The proof that items and results may cross to a worker thread.
    fn call_proof(&self) -> CallProof<A, Self::Out>;
    /// Whether it runs in worker processes; `None` if any pool can run it.
    #[doc(hidden)]
    fn runs_in_processes(&self) -> Option<bool> {
        Some(false)
    }
    /// Runs it on this backend from now on; `false` if it is no process function.
    #[cfg(feature = "process")]
    #[doc(hidden)]
    fn use_backend(&mut self, _: BackendId) -> bool {
        false
    }
    /// The function on several items at once, if they are sent to a worker process.
    #[cfg(feature = "process")]
    #[doc(hidden)]
    fn process_batches(&self) -> Option<&dyn ProcessBatches<A, Self::Out>> {
        None
    }
    /// The function that the map's progress is reported to.
    #[doc(hidden)]
    fn on_progress(&self) -> Option<ProgressFn<'_>> {
        None
    }
}

impl<A, F: MapFn<A>> MapFn<A> for &F {
    type Out = F::Out;

    #[inline]
    fn call(&self, item: A) -> F::Out {
        (**self).call(item)
    }

    fn call_proof(&self) -> CallProof<A, F::Out> {
        (**self).call_proof()
    }
}

/// The function on several items, for a task. Results are pushed one by one, so that a panic leaves the earlier ones.
pub(crate) type BatchFn<A, R> = Arc<dyn Fn(Vec<A>, &mut Vec<R>) + Send + Sync>;

/// A function that tasks may own after the call that made the map has returned.
#[diagnostic::on_unimplemented(
    message = "this map cannot be iterated",
    label = "its function borrows, or cannot be sent",
    note = "an iterator can be forgotten while workers run: what its function captures must be owned; end the map with `collect`, `for_each`, `reduce` or `sum`, or clone what it captures"
)]
pub trait Detach<A>: MapFn<A> {
    /// Makes it a function on several items that borrows nothing.
    fn detach(self) -> BatchFn<A, Self::Out>
    where
        A: 'static,
        Self::Out: 'static;
    /// As [`on_progress`](MapFn::on_progress), of a function that borrows nothing.
    #[doc(hidden)]
    fn detached_on_progress(&self) -> Option<ProgressFn<'static>> {
        None
    }
}

/// A closure, as the function of a map.
pub struct Closure<F, A, R> {
    function: F,
    proof: CallProof<A, R>,
}

impl<F: Fn(A) -> R + Sync, A, R> Closure<F, A, R> {
    pub(crate) fn new(function: F, proof: CallProof<A, R>) -> Self {
        Self { function, proof }
    }
}

impl<F: Fn(A) -> R + Sync, A, R> MapFn<A> for Closure<F, A, R> {
    type Out = R;

    #[inline]
    fn call(&self, item: A) -> R {
        (self.function)(item)
    }

    fn call_proof(&self) -> CallProof<A, R> {
        self.proof
    }
}

impl<F: Fn(A) -> R + Send + Sync + 'static, A, R> Detach<A> for Closure<F, A, R> {
    fn detach(self) -> BatchFn<A, R>
    where
        A: 'static,
        R: 'static,
    {
        let function = self.function;
        Arc::new(move |items, results| results.extend(items.into_iter().map(&function)))
    }
}

/// An annotated function as a type, which its companion is. It gives a map of the function a type that can be named.
///
/// An opaque type in a signature repeats the signature's bounds: with one as the type of the function, a mistake in the
/// items of a map is reported at the items, at the call of `map`, and at each method behind it.
pub trait Named<A, R> {
    /// Calls the function with an item of a map.
    fn run(item: A) -> R;
}

/// A function on items that captures nothing.
pub trait ItemFn<A, R>: Send + Sync {
    /// Calls it.
    fn call_item(&self, item: A) -> R;
}

impl<F: Fn(A) -> R + Send + Sync, A, R> ItemFn<A, R> for F {
    #[inline]
    fn call_item(&self, item: A) -> R {
        self(item)
    }
}

/// The function that a companion names.
pub struct Companion<N>(PhantomData<fn() -> N>);

impl<N> Companion<N> {
    /// A value for it.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "only emitted code makes one")]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<N: Named<A, R>, A, R> ItemFn<A, R> for Companion<N> {
    #[inline]
    fn call_item(&self, item: A) -> R {
        N::run(item)
    }
}

/// A function that takes its only argument as a tuple.
pub struct Single<F>(pub(crate) F);

impl<F: Fn((A,)) -> R + Send + Sync, A, R> ItemFn<A, R> for Single<F> {
    #[inline]
    fn call_item(&self, item: A) -> R {
        (self.0)((item,))
    }
}

/// A function that takes its arguments as an item has them.
pub struct Tuple<F>(pub(crate) F);

impl<F: Fn(A) -> R + Send + Sync, A, R> ItemFn<A, R> for Tuple<F> {
    #[inline]
    fn call_item(&self, item: A) -> R {
        (self.0)(item)
    }
}

/// An annotated function, as the function of a map.
pub struct AnnotatedFn<F, A, R> {
    function: F,
    proof: CallProof<A, R>,
}

/// The annotated function of this companion, as the function of a map.
pub type NamedFn<N, A, R> = AnnotatedFn<Companion<N>, A, R>;

impl<F: ItemFn<A, R>, A, R> AnnotatedFn<F, A, R> {
    pub(super) fn new(function: F, proof: CallProof<A, R>) -> Self {
        const { assert!(size_of::<F>() == 0, "an annotated function captures nothing") };
        Self { function, proof }
    }
}

impl<F: ItemFn<A, R>, A, R> MapFn<A> for AnnotatedFn<F, A, R> {
    type Out = R;

    #[inline]
    fn call(&self, item: A) -> R {
        self.function.call_item(item)
    }

    fn call_proof(&self) -> CallProof<A, R> {
        self.proof
    }
}

impl<F: ItemFn<A, R>, A, R> Detach<A> for AnnotatedFn<F, A, R> {
    fn detach(self) -> BatchFn<A, R>
    where
        A: 'static,
        R: 'static,
    {
        /// A [`BatchFn`] that may borrow.
        type BorrowingBatchFn<'a, A, R> = Arc<dyn Fn(Vec<A>, &mut Vec<R>) + Send + Sync + 'a>;
        let function = self.function;
        let batched: BorrowingBatchFn<'_, A, R> =
            Arc::new(move |items, results| results.extend(items.into_iter().map(|item| function.call_item(item))));
        // SAFETY: only the lifetime changes. The function has size 0 (asserted in `new`), so it captures no reference;
        // the lifetime comes from its type, which names the type of the map's source.
        unsafe { std::mem::transmute::<BorrowingBatchFn<'_, A, R>, BatchFn<A, R>>(batched) }
    }
}

/// An annotated method on one receiver, as the function of a map.
pub struct MethodFn<T: Method, F, R> {
    receiver: AssertSend<T::Receiver>,
    function: F,
    proof: CallProof<T, R>,
}

impl<T: Method, F: Fn(T) -> R + Send + Sync, R> MethodFn<T, F, R>
where
    T::Receiver: SharedReceiver,
{
    pub(super) fn new(receiver: T::Receiver, function: F, proof: CallProof<T, R>) -> Self {
        // SAFETY: the receiver is one of the arguments of the `CallProof`, so it may move between threads. Threads
        // share it to clone it, for which `SharedReceiver` guarantees `Sync`.
        Self { receiver: unsafe { AssertSend::new(receiver) }, function, proof }
    }
}

impl<T: Method, F: Fn(T) -> R + Send + Sync, R> MapFn<T::Others> for MethodFn<T, F, R>
where
    T::Receiver: SharedReceiver,
{
    type Out = R;

    #[inline]
    fn call(&self, item: T::Others) -> R {
        (self.function)(T::join(self.receiver.get().clone(), item))
    }

    fn call_proof(&self) -> CallProof<T::Others, R> {
        self.proof.without_receiver()
    }
}

impl<T: Method + 'static, F: Fn(T) -> R + Send + Sync + 'static, R: 'static> Detach<T::Others> for MethodFn<T, F, R>
where
    T::Receiver: SharedReceiver + 'static,
{
    fn detach(self) -> BatchFn<T::Others, R> {
        Arc::new(move |items, results| results.extend(items.into_iter().map(|item| self.call(item))))
    }
}
