//! The function of a map, and how it gets into tasks that outlive the call.

use std::sync::Arc;

use super::method::{Method, Receiver};
#[cfg(feature = "process")]
use super::process::Batches;
use crate::task::send_proof::{AssertSend, CallProof};

/// A function to be applied to items of type `A`.
///
/// A trait of its own, because `impl Fn(A) -> impl Trait` cannot be written.
pub trait MapFn<A>: Sync {
    /// What it returns.
    type Out;
    /// Calls it.
    fn call(&self, item: A) -> Self::Out;
    /// The proof that items and results may cross to a worker.
    fn call_proof(&self) -> CallProof<A, Self::Out>;
    /// Whether it runs in other processes; `None` if anywhere.
    #[doc(hidden)]
    fn is_abroad(&self) -> Option<bool> {
        Some(false)
    }
    /// The function on several items at once, where they go to another process.
    #[cfg(feature = "process")]
    #[doc(hidden)]
    fn batches(&self) -> Option<&dyn Batches<A, Self::Out>> {
        None
    }
}

/// The function on several items, for a task: results are added as they come, so that a panic leaves the earlier ones.
pub(crate) type Batched<A, R> = Arc<dyn Fn(Vec<A>, &mut Vec<R>) + Send + Sync>;

/// A function that tasks may hold when the call that made the map is over.
#[diagnostic::on_unimplemented(
    message = "this map cannot be iterated",
    label = "its function borrows, or cannot be sent",
    note = "an iterator can be forgotten while workers run: what its function captures must be owned; end the map with `collect`, `for_each`, `reduce` or `sum`, or clone what it captures"
)]
pub trait Detach<A>: MapFn<A> {
    /// The function on its own.
    fn detach(self) -> Batched<A, Self::Out>
    where
        A: 'static,
        Self::Out: 'static;
}

/// A user's closure.
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
    fn detach(self) -> Batched<A, R>
    where
        A: 'static,
        R: 'static,
    {
        let function = self.function;
        Arc::new(move |items, results| results.extend(items.into_iter().map(&function)))
    }
}

/// An annotated function: a closure that captures nothing.
pub(super) struct Bare<F, A, R>(Closure<F, A, R>);

impl<F: Fn(A) -> R + Send + Sync, A, R> Bare<F, A, R> {
    pub(super) fn new(function: F, proof: CallProof<A, R>) -> Self {
        const { assert!(size_of::<F>() == 0, "an annotated function captures nothing") };
        Self(Closure::new(function, proof))
    }
}

impl<F: Fn(A) -> R + Send + Sync, A, R> MapFn<A> for Bare<F, A, R> {
    type Out = R;

    #[inline]
    fn call(&self, item: A) -> R {
        self.0.call(item)
    }

    fn call_proof(&self) -> CallProof<A, R> {
        self.0.proof
    }
}

impl<F: Fn(A) -> R + Send + Sync, A, R> Detach<A> for Bare<F, A, R> {
    fn detach(self) -> Batched<A, R>
    where
        A: 'static,
        R: 'static,
    {
        /// As [`Batched`], for as long as what it captures.
        type Borrowed<'a, A, R> = Arc<dyn Fn(Vec<A>, &mut Vec<R>) + Send + Sync + 'a>;
        let function = self.0.function;
        let batched: Borrowed<'_, A, R> =
            Arc::new(move |items, results| results.extend(items.into_iter().map(&function)));
        // SAFETY: only the lifetime changes. The closure has no size, so it captures nothing that could end; its type
        // only names the type of the map's source, which may borrow.
        unsafe { std::mem::transmute::<Borrowed<'_, A, R>, Batched<A, R>>(batched) }
    }
}

/// An annotated method, with the receiver that all items are given.
pub struct On<T: Method, F, R> {
    receiver: AssertSend<T::Receiver>,
    function: F,
    proof: CallProof<T, R>,
}

impl<T: Method, F: Fn(T) -> R + Send + Sync, R> On<T, F, R>
where
    T::Receiver: Receiver,
{
    pub(super) fn new(receiver: T::Receiver, function: F, proof: CallProof<T, R>) -> Self {
        // SAFETY: the receiver is one of the proof's arguments; each thread takes a clone, and a `Receiver` that is
        // `Send` is `Sync`.
        Self { receiver: unsafe { AssertSend::new(receiver) }, function, proof }
    }
}

impl<T: Method, F: Fn(T) -> R + Send + Sync, R> MapFn<T::Rest> for On<T, F, R>
where
    T::Receiver: Receiver,
{
    type Out = R;

    #[inline]
    fn call(&self, item: T::Rest) -> R {
        (self.function)(T::join(self.receiver.get().clone(), item))
    }

    fn call_proof(&self) -> CallProof<T::Rest, R> {
        self.proof.rest()
    }
}

impl<T: Method + 'static, F: Fn(T) -> R + Send + Sync + 'static, R: 'static> Detach<T::Rest> for On<T, F, R>
where
    T::Receiver: Receiver + 'static,
{
    fn detach(self) -> Batched<T::Rest, R> {
        Arc::new(move |items, results| results.extend(items.into_iter().map(|item| self.call(item))))
    }
}
