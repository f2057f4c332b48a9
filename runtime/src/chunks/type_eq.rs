//! Finding out, inside a generic function, that a type is a certain one.

use std::mem::ManuallyDrop;

/// Whether `A` and `B` are the same type, lifetimes apart.
#[inline]
pub(crate) fn same_type<A: ?Sized, B: ?Sized>() -> bool {
    typeid::of::<A>() == typeid::of::<B>()
}

/// Gives a value its other name.
///
/// Keep to types without lifetimes, or with `'static` alone in `A`: type ids do not tell lifetimes apart.
///
/// # Panics
///
/// If the types differ.
#[inline]
pub(crate) fn cast<A: 'static, B>(value: A) -> B {
    assert!(same_type::<A, B>(), "the caller has compared the types");
    let value = ManuallyDrop::new(value);
    // SAFETY: both are the same type; `A` is `'static`, so no lifetime in `B` outlives its data; and the
    // original is never used or dropped again.
    unsafe { std::mem::transmute_copy::<ManuallyDrop<A>, B>(&value) }
}
