//! Methods: the receiver is the first argument, which a task owns as an `Arc` or all items of a map share.

use std::sync::Arc;

use crate::task::send_proof::CallProof;

/// The arguments of a method, split into the receiver and the others.
pub trait Method {
    /// The type of the receiver.
    type Receiver;
    /// The other argument, or a tuple of them.
    type Others;
    /// The whole tuple of arguments.
    fn join(receiver: Self::Receiver, others: Self::Others) -> Self;
}

/// The arguments of a method on `&self`, and those that its task owns: with an `Arc` in place of the reference.
pub trait ArcReceiver {
    /// The type behind the reference.
    type Target: ?Sized;
    /// The arguments with the `Arc` in place of the reference.
    type Args;
}

macro_rules! method {
    ($($name:ident)*) => {
        impl<S: ?Sized + 'static, $($name),*> ArcReceiver for (&'static S, $($name,)*) {
            type Target = S;
            type Args = (Arc<S>, $($name,)*);
        }

        method!(@several $($name)*);
    };
    (@several) => {};
    (@several $only:ident) => {
        impl<S, $only> Method for (S, $only) {
            type Receiver = S;
            type Others = $only;

            #[inline]
            fn join(receiver: S, others: $only) -> Self {
                (receiver, others)
            }
        }
    };
    (@several $($name:ident)*) => {
        impl<S, $($name),*> Method for (S, $($name,)*) {
            type Receiver = S;
            type Others = ($($name,)*);

            #[inline]
            #[allow(non_snake_case, reason = "the variables are named as the types")]
            fn join(receiver: S, ($($name,)*): Self::Others) -> Self {
                (receiver, $($name,)*)
            }
        }
    };
}

/// Implements both traits for tuples of the receiver and up to 15 other arguments.
macro_rules! methods {
    ($($name:ident)*) => { methods!(@next [] $($name)*); };
    (@next [$($done:ident)*]) => { method!($($done)*); };
    (@next [$($done:ident)*] $next:ident $($rest:ident)*) => {
        method!($($done)*);
        methods!(@next [$($done)* $next] $($rest)*);
    };
}
methods!(A B C D E F G H I J K L M N O);

/// A receiver that several threads may use at once.
///
/// # Safety
///
/// If the type is `Send`, it is `Sync` too.
pub unsafe trait SharedReceiver: Clone {}
// SAFETY: `&S` is `Send` if and only if `S` is `Sync`, and then `&S` is `Sync`.
unsafe impl<S: ?Sized> SharedReceiver for &S {}
// SAFETY: `Arc<S>` is `Send` if and only if `S` is `Send` and `Sync`, and then `Arc<S>` is `Sync`.
unsafe impl<S: ?Sized> SharedReceiver for Arc<S> {}

impl<A: Method, R> CallProof<A, R> {
    /// The proof for the arguments without the receiver.
    #[allow(clippy::unused_self, reason = "owning the proof is what permits it")]
    pub(crate) fn without_receiver(self) -> CallProof<A::Others, R> {
        // SAFETY: `A::Others` is `A` without its receiver, and this proof covers every argument of `A`.
        unsafe { CallProof::new_unchecked() }
    }
}
