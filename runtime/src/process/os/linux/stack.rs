//! How much of the current thread's stack is left for nested values.

use std::cell::Cell;
use std::mem::MaybeUninit;

/// How far this thread's stack may be used by what nests as deep as a message says: an address, above the end of the
/// stack by as much as the rest needs. 0 if the system does not tell, or this thread runs on another stack.
pub(crate) fn stack_limit() -> usize {
    /// Bytes that are left; of small stacks a quarter.
    const LEFT: usize = 128 << 10;
    thread_local! {
        /// Where the stack begins, and where it ends.
        static STACK: Cell<Option<(usize, usize)>> = const { Cell::new(None) };
    }
    let (start, end) = STACK.get().unwrap_or_else(|| {
        let found = stack();
        STACK.set(Some(found));
        found
    });
    let here = std::ptr::from_ref(&start).addr();
    if (start..end).contains(&here) { start + LEFT.min((end - start) / 4) } else { 0 }
}

/// The addresses of this thread's stack: the first one, and the one behind it. Both 0 if the system does not tell.
fn stack() -> (usize, usize) {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let (mut start, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: the attributes are filled in by the first call, read by the second if that succeeded, and destroyed.
    unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return (0, 0);
        }
        libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut start, &raw mut size);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
    }
    (start.addr(), start.addr().saturating_add(size))
}
