//! Compares types inside a generic function, a form of specialization.

use std::mem::ManuallyDrop;

/// Whether `A` and `B` are the same type, ignoring lifetimes.
#[inline]
pub(crate) fn same_type<A: ?Sized, B: ?Sized>() -> bool {
    typeid::of::<A>() == typeid::of::<B>()
}

/// Casts a value to its own type under another name.
///
/// The types of `A` have no lifetime but `'static`, as type ids ignore lifetimes.
///
/// # Panics
///
/// If the types differ.
#[inline]
pub(crate) fn cast<A: 'static, B>(value: A) -> B {
    assert!(same_type::<A, B>(), "cast to another type: callers compare the types first");
    let value = ManuallyDrop::new(value);
    // SAFETY: the assertion holds, so both are the same type up to lifetimes; `A: 'static`, so no lifetime in `B`
    // outlives its data. `ManuallyDrop` keeps the original from being used or dropped again.
    unsafe { std::mem::transmute_copy::<ManuallyDrop<A>, B>(&value) }
}
