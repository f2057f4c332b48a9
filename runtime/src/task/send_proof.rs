//! The compile-time check of what crosses to a worker.
//!
//! The attribute asks for a witness once, where the user wrote the type: [`sent`] and [`shared`] compile only
//! for types that may cross, and what they give is the key to the runtime's entries. Those need no `Send`
//! bounds of their own, so one bad type is one error.

use std::marker::PhantomData;

/// A type whose values may move to a worker thread.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent to a worker thread",
    label = "cannot be sent to a worker thread",
    note = "arguments and results of a `#[parallel]` function move to another thread, so they must be `Send`"
)]
pub trait Worker {}
impl<T: Send + ?Sized> Worker for T {}

/// A type that names a trait object, which says nothing of threads: rustc would speak of the object alone, and not of
/// what to write.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent to a worker thread",
    label = "cannot be sent to a worker thread",
    note = "what stands behind a `dyn` moves to another thread if the type says that it may: `Box<dyn Error + Send + Sync>`, `Box<dyn Fn() + Send>`, `&(dyn Fn() + Sync)`"
)]
pub trait WorkerObject {}
#[diagnostic::do_not_recommend]
impl<T: Send + ?Sized> WorkerObject for T {}

/// A type whose values several worker threads may look at.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be shared with a worker thread",
    label = "cannot be shared with a worker thread",
    note = "a reference lets several threads look at one value, so it must be `Sync`"
)]
pub trait Shared {}
impl<T: Sync + ?Sized> Shared for T {}

/// Proof that `T` may cross to a worker. Invariant in `T`: a covariant proof for `&'static U` would serve for a
/// `&'a U`, whose `Send` may depend on the lifetime.
pub struct SendProof<T>(PhantomData<fn(T) -> T>);

impl<T> Clone for SendProof<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for SendProof<T> {}

/// The proof for a type that moves.
#[must_use]
pub fn sent<T: Worker>() -> SendProof<T> {
    SendProof(PhantomData)
}

/// The proof for a type that names a trait object.
#[must_use]
pub fn sent_object<T: WorkerObject>() -> SendProof<T> {
    SendProof(PhantomData)
}

/// The proof for a reference, in the words of what stands behind it.
#[must_use]
pub fn shared<'a, T: Shared + ?Sized + 'a>() -> SendProof<&'a T> {
    SendProof(PhantomData)
}

/// The proof for a value's type, where that has no name.
#[must_use]
pub fn sent_value<T: Worker>(_: &T) -> SendProof<T> {
    SendProof(PhantomData)
}

/// Asks for the proof for what a function returns, where that has no name.
pub fn sent_by<A, R: Worker>(_: impl FnOnce(A) -> R) {}

/// The same for what a future gives.
pub fn sent_by_future<A, F: Future<Output: Worker>>(_: impl FnOnce(A) -> F) {}

/// The same for a closure that is the whole body of a function.
#[must_use]
pub fn sent_result<R: Worker>(_: &impl FnOnce() -> R) -> SendProof<R> {
    SendProof(PhantomData)
}

/// The body of a function, as the closure that it is; `FnOnce` from here on.
pub fn body<R, F: FnOnce() -> R>(closure: F) -> F {
    closure
}

/// A tuple of proofs, one an argument, and the tuple of arguments they stand for.
pub trait Witness {
    /// The arguments.
    type Args;
}

macro_rules! witness {
    ($($name:ident)*) => {
        impl<$($name),*> Witness for ($(SendProof<$name>,)*) {
            type Args = ($($name,)*);
        }
    };
}
witness!();
witness!(A);
witness!(A B);
witness!(A B C);
witness!(A B C D);
witness!(A B C D E);
witness!(A B C D E F);
witness!(A B C D E F G);
witness!(A B C D E F G H);
witness!(A B C D E F G H I);
witness!(A B C D E F G H I J);
witness!(A B C D E F G H I J K);
witness!(A B C D E F G H I J K L);
witness!(A B C D E F G H I J K L M);
witness!(A B C D E F G H I J K L M N);
witness!(A B C D E F G H I J K L M N O);
witness!(A B C D E F G H I J K L M N O P);

/// Proof that a whole call may cross: its arguments there, its result back. Invariant in both, as [`SendProof`] is.
pub struct CallProof<A, R> {
    _arguments: PhantomData<fn(A) -> A>,
    _result: PhantomData<fn(R) -> R>,
}

impl<A, R> Clone for CallProof<A, R> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<A, R> Copy for CallProof<A, R> {}

/// The proof for a call, from the proofs of its parts.
#[must_use]
pub(crate) fn call_proof<W: Witness, R>(_arguments: W, _result: SendProof<R>) -> CallProof<W::Args, R> {
    CallProof { _arguments: PhantomData, _result: PhantomData }
}

impl<A, R> CallProof<(A,), R> {
    /// The proof for the one argument itself.
    #[allow(clippy::unused_self)] // It is the proof.
    pub(crate) fn single(self) -> CallProof<A, R> {
        CallProof { _arguments: PhantomData, _result: PhantomData }
    }
}

impl<A: Send, R: Send> CallProof<A, R> {
    /// The proof where the bounds are at hand.
    pub(crate) fn by_bounds() -> Self {
        Self { _arguments: PhantomData, _result: PhantomData }
    }
}

impl<A, R> CallProof<A, R> {
    /// The proof where it follows from another one.
    ///
    /// # Safety
    ///
    /// `A` and `R` are made only of parts that another [`CallProof`] stands for, or that are `Send`.
    pub(crate) unsafe fn vouched() -> Self {
        Self { _arguments: PhantomData, _result: PhantomData }
    }
}

/// A value that crosses to another thread on the strength of a [`CallProof`].
///
/// A method gives the value out, never the field: a closure that names a field captures the field alone.
pub(crate) struct AssertSend<T>(T);

impl<T> AssertSend<T> {
    /// Wraps `value`.
    ///
    /// # Safety
    ///
    /// A [`CallProof`] must stand for `T`: as its arguments, its result, or something made only of those and of
    /// parts that are `Send` themselves. Threads that share it through `get` may take each such part once, or
    /// look at parts that are `Sync`.
    pub(crate) unsafe fn new(value: T) -> Self {
        Self(value)
    }

    pub(crate) fn into_inner(self) -> T {
        self.0
    }

    pub(crate) fn get(&self) -> &T {
        &self.0
    }
}

// SAFETY: as below; and `AssertSend::new` promises that sharing moves each part to one thread at a time.
unsafe impl<T> Sync for AssertSend<T> {}

// SAFETY: `AssertSend::new` promises that the value may move to another thread.
unsafe impl<T> Send for AssertSend<T> {}
