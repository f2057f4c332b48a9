//! [`SendProof`] and [`CallProof`]: the compile-time check of the types that cross to a worker.
//!
//! The attribute's code makes one proof for each type, at the place where the user wrote the type: [`sent`] and
//! [`shared`] compile only for types that may cross. The runtime's functions take the proofs in place of `Send` bounds
//! of their own, so one bad type causes one compile error.

use std::marker::PhantomData;

/// A type whose values may move to a worker thread.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent to a worker thread",
    label = "cannot be sent to a worker thread",
    note = "arguments and results of a `#[parallel]` function move to another thread, so they must be `Send`"
)]
pub trait Worker {}
impl<T: Send + ?Sized> Worker for T {}

/// As [`Worker`], for a type that names a trait object. Without it rustc's error names the trait object only, and not
/// the bound to write.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent to a worker thread",
    label = "cannot be sent to a worker thread",
    note = "what stands behind a `dyn` moves to another thread if the type says that it may: `Box<dyn Error + Send + Sync>`, `Box<dyn Fn() + Send>`, `&(dyn Fn() + Sync)`"
)]
pub trait WorkerObject {}
#[diagnostic::do_not_recommend]
impl<T: Send + ?Sized> WorkerObject for T {}

/// A type that worker threads may share by reference.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be shared with a worker thread",
    label = "cannot be shared with a worker thread",
    note = "a reference lets several threads look at one value, so it must be `Sync`"
)]
pub trait Shared {}
impl<T: Sync + ?Sized> Shared for T {}

/// Proof that `T` may cross to a worker thread. Invariant in `T`: a covariant proof for `&'static U` would be one for
/// `&'a U`, whose `Send` may depend on the lifetime.
pub struct SendProof<T>(PhantomData<fn(T) -> T>);

impl<T> Clone for SendProof<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for SendProof<T> {}

/// The proof for a type whose values move.
#[must_use]
pub fn sent<T: Worker>() -> SendProof<T> {
    SendProof(PhantomData)
}

/// The proof for a type that names a trait object.
#[must_use]
pub fn sent_object<T: WorkerObject>() -> SendProof<T> {
    SendProof(PhantomData)
}

/// The proof for a reference, from the type behind it, so that the compile error names that type.
#[must_use]
pub fn shared<'a, T: Shared + ?Sized + 'a>() -> SendProof<&'a T> {
    SendProof(PhantomData)
}

/// The proof for the type of a value, where that type has no name.
#[must_use]
pub fn sent_value<T: Worker>(_: &T) -> SendProof<T> {
    SendProof(PhantomData)
}

/// Checks the return type of a function, where that type has no name.
pub fn sent_by<A, R: Worker>(_: impl FnOnce(A) -> R) {}

/// Checks the output of the future that a function returns.
pub fn sent_by_future<A, F: Future<Output: Worker>>(_: impl FnOnce(A) -> F) {}

/// The proof for the return type of a closure that is the whole body of a function.
#[must_use]
pub fn sent_result<R: Worker>(_: &impl FnOnce() -> R) -> SendProof<R> {
    SendProof(PhantomData)
}

/// The body of a function as a closure, inferred as `FnOnce`.
pub fn body<R, F: FnOnce() -> R>(closure: F) -> F {
    closure
}

/// A tuple of proofs, one for each argument.
pub trait Witness {
    /// The tuple of the arguments.
    type Args;
}

/// Implements [`Witness`] for tuples of up to 16 arguments.
macro_rules! witnesses {
    ($($name:ident)*) => { witnesses!(@next [] $($name)*); };
    (@next [$($done:ident)*]) => { witnesses!(@one $($done)*); };
    (@next [$($done:ident)*] $next:ident $($rest:ident)*) => {
        witnesses!(@one $($done)*);
        witnesses!(@next [$($done)* $next] $($rest)*);
    };
    (@one $($name:ident)*) => {
        impl<$($name),*> Witness for ($(SendProof<$name>,)*) {
            type Args = ($($name,)*);
        }
    };
}
witnesses!(A B C D E F G H I J K L M N O P);

/// Proof that a whole call may cross threads: its arguments to a worker, its result back. Invariant in both, as
/// [`SendProof`] is.
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

/// The proof for a call, from the proofs for its arguments and its result.
#[must_use]
pub(crate) fn call_proof<W: Witness, R>(_arguments: W, _result: SendProof<R>) -> CallProof<W::Args, R> {
    CallProof { _arguments: PhantomData, _result: PhantomData }
}

impl<A, R> CallProof<(A,), R> {
    /// The proof for the only argument, without the tuple around it.
    #[allow(clippy::unused_self, reason = "owning the proof is what permits it")]
    pub(crate) fn single(self) -> CallProof<A, R> {
        CallProof { _arguments: PhantomData, _result: PhantomData }
    }
}

impl<A: Send, R: Send> CallProof<A, R> {
    /// The proof for types that are known to be `Send`.
    pub(crate) fn from_bounds() -> Self {
        Self { _arguments: PhantomData, _result: PhantomData }
    }
}

impl<A, R> CallProof<A, R> {
    /// The proof for types of which the caller knows that they may cross.
    ///
    /// # Safety
    ///
    /// `A` and `R` are made only of parts that are `Send`, or that are arguments or results in another [`CallProof`].
    pub(crate) unsafe fn new_unchecked() -> Self {
        Self { _arguments: PhantomData, _result: PhantomData }
    }
}

/// A wrapper that is `Send` and `Sync`, for a value that a [`CallProof`] covers.
///
/// The value is read by methods, never by the field: a closure that names a field captures only the field, which is not
/// `Send`.
pub(crate) struct AssertSend<T>(T);

impl<T> AssertSend<T> {
    /// Wraps `value`.
    ///
    /// # Safety
    ///
    /// `T` is made only of arguments and results in a [`CallProof`] and of parts that are `Send`. Threads that share it
    /// through [`get`](Self::get) move each part that is not `Sync` to one thread only.
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

// SAFETY: by the contract of `AssertSend::new` every part of the value may move to another thread.
unsafe impl<T> Send for AssertSend<T> {}

// SAFETY: by the contract of `AssertSend::new` threads that share the value use only its `Sync` parts by reference, and
// move each other part to one thread.
unsafe impl<T> Sync for AssertSend<T> {}
