//! Methods: the receiver stands first among the arguments, and a task or all items of a map may share it.

use std::sync::Arc;

use crate::task::send_proof::CallProof;

/// The arguments of a method: its receiver and the others.
pub trait Method {
    /// What stands before the dot.
    type Receiver;
    /// The other argument, or a tuple of them.
    type Rest;
    /// All of them.
    fn join(receiver: Self::Receiver, rest: Self::Rest) -> Self;
}

/// The arguments of a method on `&self` as a task keeps them: with an `Arc` in place of the reference.
pub trait Counted {
    /// What the reference leads to.
    type Target: ?Sized;
    /// The arguments with the `Arc`.
    type Args;
}

macro_rules! method {
    ($($name:ident)*) => {
        impl<S: ?Sized + 'static, $($name),*> Counted for (&'static S, $($name,)*) {
            type Target = S;
            type Args = (Arc<S>, $($name,)*);
        }

        method!(@several $($name)*);
    };
    (@several) => {};
    (@several $only:ident) => {
        impl<S, $only> Method for (S, $only) {
            type Receiver = S;
            type Rest = $only;

            #[inline]
            fn join(receiver: S, rest: $only) -> Self {
                (receiver, rest)
            }
        }
    };
    (@several $($name:ident)*) => {
        impl<S, $($name),*> Method for (S, $($name,)*) {
            type Receiver = S;
            type Rest = ($($name,)*);

            #[inline]
            #[allow(non_snake_case)]
            fn join(receiver: S, ($($name,)*): Self::Rest) -> Self {
                (receiver, $($name,)*)
            }
        }
    };
}
method!();
method!(A);
method!(A B);
method!(A B C);
method!(A B C D);
method!(A B C D E);
method!(A B C D E F);
method!(A B C D E F G);
method!(A B C D E F G H);
method!(A B C D E F G H I);
method!(A B C D E F G H I J);
method!(A B C D E F G H I J K);
method!(A B C D E F G H I J K L);
method!(A B C D E F G H I J K L M);
method!(A B C D E F G H I J K L M N);
method!(A B C D E F G H I J K L M N O);

/// A receiver that many threads may use at once.
///
/// # Safety
///
/// Where it is `Send` it is `Sync` as well.
pub unsafe trait Receiver: Clone {}
// SAFETY: a reference is `Send` where what it leads to is `Sync`, and then it is `Sync` itself.
unsafe impl<S: ?Sized> Receiver for &S {}
// SAFETY: an `Arc` is `Send` where what it leads to is `Send` and `Sync`, and then it is `Sync` itself.
unsafe impl<S: ?Sized> Receiver for Arc<S> {}

impl<A: Method, R> CallProof<A, R> {
    /// The proof for the arguments without the receiver.
    #[allow(clippy::unused_self)] // It is the proof.
    pub(crate) fn rest(self) -> CallProof<A::Rest, R> {
        // SAFETY: they are some of those of this proof.
        unsafe { CallProof::vouched() }
    }
}
