//! How much of the current thread's stack nested values may use.

use std::cell::Cell;

/// The lowest address of this thread's stack that nested values may use: the end of the stack, and what other code
/// needs above it. 0 if the stack is unknown, or if the thread runs on another stack now.
pub(crate) fn stack_limit() -> usize {
    /// The bytes that are kept for other code; on stacks below 512 KiB, a quarter.
    const LEFT: usize = 128 << 10;
    thread_local! {
        /// The lowest address of the stack, and the address above it.
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

/// The lowest address of this thread's stack, and the address above it; both 0 if the system does not know.
#[cfg(target_os = "linux")]
fn stack() -> (usize, usize) {
    let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    let (mut start, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: `attributes` is read and destroyed only after `pthread_getattr_np` has initialized it, and `start` and
    // `size` are valid places for the answers.
    unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return (0, 0);
        }
        libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut start, &raw mut size);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
    }
    (start.addr(), start.addr().saturating_add(size))
}

#[cfg(target_vendor = "apple")]
fn stack() -> (usize, usize) {
    // SAFETY: both calls read what the C library knows of this thread, which runs.
    let (end, size) = unsafe {
        (
            libc::pthread_get_stackaddr_np(libc::pthread_self()).addr(),
            libc::pthread_get_stacksize_np(libc::pthread_self()),
        )
    };
    (end.saturating_sub(size), end)
}

#[cfg(windows)]
fn stack() -> (usize, usize) {
    let (mut start, mut end) = (0, 0);
    // SAFETY: both are valid places for the answers.
    unsafe { windows_sys::Win32::System::Threading::GetCurrentThreadStackLimits(&raw mut start, &raw mut end) };
    (start, end)
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple", windows)))]
fn stack() -> (usize, usize) {
    (0, 0)
}
