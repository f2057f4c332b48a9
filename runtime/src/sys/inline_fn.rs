//! [`InlineFn`]: a boxed closure without the box, which a `const fn` can make.
//!
//! A pool's hooks are closures, and a pool is a `static` that `const` functions build: they cannot allocate.

use std::cell::UnsafeCell;
use std::fmt;
use std::mem::MaybeUninit;

use super::unwind;

/// The words that a closure may capture: a few references, counted pointers or senders.
const WORDS: usize = 4;

/// The captures of a closure, in an aligned buffer.
///
/// In an `UnsafeCell`, because a call by shared reference may change an atomic that the closure captures by value.
type Captures = UnsafeCell<[MaybeUninit<usize>; WORDS]>;

/// A closure of any type, stored inline.
pub(crate) struct InlineFn {
    /// Initialized with a value of the type for which `call` and `drop` were made.
    captures: Captures,
    call: unsafe fn(&Captures),
    drop: unsafe fn(&mut Captures),
}

// SAFETY: `new`, which alone makes one, requires the closure to be `Send`.
unsafe impl Send for InlineFn {}
// SAFETY: a shared reference only calls the closure, which `new` requires to be `Sync`.
unsafe impl Sync for InlineFn {}

impl InlineFn {
    /// Stores a closure. One that captures more than fits does not compile.
    pub(crate) const fn new<F: Fn() + Send + Sync + 'static>(closure: F) -> Self {
        const {
            assert!(
                size_of::<F>() <= size_of::<Captures>() && align_of::<F>() <= align_of::<Captures>(),
                "this hook captures more than four words: put what it captures into an `Arc`"
            );
        }
        let mut captures = [const { MaybeUninit::uninit() }; WORDS];
        // SAFETY: the buffer is large enough and aligned for `F`, as asserted above.
        unsafe { captures.as_mut_ptr().cast::<F>().write(closure) };
        Self { captures: UnsafeCell::new(captures), call: call::<F>, drop: drop_captures::<F> }
    }

    pub(crate) fn call(&self) {
        // SAFETY: `new` made `call` for the type that it wrote to `captures`, which stay initialized until `self` is
        // dropped.
        unsafe { (self.call)(&self.captures) }
    }
}

/// # Safety
///
/// The captures are those of an `F`.
unsafe fn call<F: Fn()>(captures: &Captures) {
    // SAFETY: by this function's contract an `F` is there, and the reference lives as long as that to the buffer.
    unsafe { (*captures.get().cast::<F>())() }
}

/// # Safety
///
/// The captures are those of an `F`, and are not used afterwards.
unsafe fn drop_captures<F>(captures: &mut Captures) {
    // SAFETY: by this function's contract an `F` is there, which nothing uses afterwards.
    unsafe { captures.get().cast::<F>().drop_in_place() }
}

impl Drop for InlineFn {
    fn drop(&mut self) {
        // Contained: the last owner may be a worker thread that ends.
        // SAFETY: `new` made `drop` for the type that it wrote to `captures`; this runs once, and nothing uses them
        // afterwards.
        unwind::contain(|| unsafe { (self.drop)(&mut self.captures) });
    }
}

impl fmt::Debug for InlineFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InlineFn(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    static CALLS: AtomicUsize = AtomicUsize::new(0);
    static CONST_MADE: InlineFn = InlineFn::new(|| assert!(CALLS.fetch_add(1, Ordering::Relaxed) < 2));

    #[test]
    fn a_static_closure_is_called() {
        CONST_MADE.call();
        CONST_MADE.call();
        assert_eq!(CALLS.load(Ordering::Relaxed), 2);
    }

    static WITH_AN_ATOMIC: InlineFn = {
        let calls = AtomicUsize::new(0);
        InlineFn::new(move || assert!(calls.fetch_add(1, Ordering::Relaxed) < 2, "called three times"))
    };

    #[test]
    fn a_call_may_change_an_atomic_that_is_captured_by_value() {
        WITH_AN_ATOMIC.call();
        WITH_AN_ATOMIC.call();
        std::panic::catch_unwind(|| WITH_AN_ATOMIC.call()).expect_err("the third call finds the count of two");
    }

    #[test]
    fn captures_are_used_in_place_and_dropped_once() {
        let (count, text) = (Arc::new(AtomicUsize::new(0)), "text".to_owned());
        let theirs = Arc::clone(&count);
        let hook = InlineFn::new(move || assert!(theirs.fetch_add(text.len(), Ordering::Relaxed) < 8));
        let moved = Arc::new(hook);
        moved.call();
        std::thread::scope(|s| drop(s.spawn(|| moved.call())));
        assert_eq!(count.load(Ordering::Relaxed), 8);
        assert_eq!(Arc::strong_count(&count), 2);
        drop(moved);
        assert_eq!(Arc::strong_count(&count), 1);
    }
}
