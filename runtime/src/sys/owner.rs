//! Which process a worker, a segment or a lock belongs to. A fork copies all of them, and the copy must not use them.
//!
//! The child of a fork has its parent's memory and descriptors: it could kill the parent's workers, take their replies,
//! free the segments that they read; and a copy of a worker could answer its requests a second time. So each such
//! resource has an [`Owner`], which is compared before every use that the other processes can see.
//!
//! An owner is a number in a page that the kernel clears in the child of a fork (`MADV_WIPEONFORK`). Comparing it costs
//! two loads, and handlers of `pthread_atfork`, which do not run for `clone` and for system calls made by hand, are not
//! needed. Only the child of a `vfork` shares its parent's memory, this page included: see [`end_vfork_of_worker`].

use std::marker::PhantomData;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// The number of a process among those that a chain of forks has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner(u32);

/// The word with this process's number, 0 in the child of a fork; null before its first use.
static WORD: AtomicPtr<AtomicU32> = AtomicPtr::new(std::ptr::null_mut());

/// How many numbers this process and those that it was forked from have used.
static NUMBERS: AtomicU32 = AtomicU32::new(0);

/// The owner that a worker process has, and its process id; 0 in a process that is no worker, and not the copy of one.
static WORKER: AtomicU32 = AtomicU32::new(0);
static WORKER_ID: AtomicU32 = AtomicU32::new(0);

impl Owner {
    /// The process that runs this.
    pub(crate) fn this_process() -> Self {
        let mut place = WORD.load(Ordering::Acquire);
        if place.is_null() {
            let new = std::ptr::from_ref(word_cleared_on_fork()).cast_mut();
            // Another thread may be first. The page of the slower one stays mapped.
            place = match WORD.compare_exchange(place, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => new,
                Err(first) => first,
            };
        }
        // SAFETY: `WORD` holds nothing but words that live as long as the process.
        let word = unsafe { &*place };
        let number = word.load(Ordering::Relaxed);
        if number != 0 {
            return Self(number);
        }
        let new = NUMBERS.fetch_add(1, Ordering::Relaxed) + 1;
        match word.compare_exchange(0, new, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => Self(new),
            Err(first) => Self(first),
        }
    }

    /// Whether this process is the owner, and not a copy of it.
    #[inline]
    pub(crate) fn is_here(self) -> bool {
        current() == self.0
    }

    /// Makes this process a worker: its copies end themselves at [`end_copy_of_worker`].
    pub(crate) fn become_worker(self) {
        WORKER_ID.store(std::process::id(), Ordering::Relaxed);
        WORKER.store(self.0, Ordering::Relaxed);
    }
}

/// The number of this process; 0 if it has none yet.
#[inline]
fn current() -> u32 {
    // SAFETY: null, or a word that lives as long as the process.
    unsafe { WORD.load(Ordering::Acquire).as_ref() }.map_or(0, |word| word.load(Ordering::Relaxed))
}

/// Ends this process, without exit handlers, if it is a copy that a task has forked of its worker process. What is done
/// next is for the worker alone: answering, writing to what it shares with its parent, waiting for the next request.
///
/// The child of a `vfork` is not seen here: see [`end_vfork_of_worker`].
#[inline]
pub(crate) fn end_copy_of_worker() {
    let worker = WORKER.load(Ordering::Relaxed);
    if worker != 0 && worker != current() {
        end_now();
    }
}

/// Ends this process, without exit handlers, if it is the child of a `vfork` of its worker process. It shares all memory
/// with the worker, whose thread stands still until the child ends, so only the process id tells them apart: a system
/// call, of 140 ns.
pub(crate) fn end_vfork_of_worker() {
    let worker = WORKER_ID.load(Ordering::Relaxed);
    if worker != 0 && worker != std::process::id() {
        end_now();
    }
}

/// A static value that every process has one of its own of: the child of a fork starts with a new one. What the parent's
/// threads held at the fork, a lock for example, would be held for ever in the child.
pub(crate) struct PerProcess<T> {
    /// The last one that was made, and its owner. None is ever freed: a fork leaves one behind.
    made: AtomicPtr<(Owner, T)>,
    _value: PhantomData<T>,
}

impl<T: Default + Sync> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        Self { made: AtomicPtr::new(std::ptr::null_mut()), _value: PhantomData }
    }

    /// This process's value.
    pub(crate) fn get(&self) -> &T {
        let owner = Owner::this_process();
        let made = self.made.load(Ordering::Acquire);
        // SAFETY: null, or made by a box below that was published here and is never freed.
        match unsafe { made.as_ref() } {
            Some((of, value)) if *of == owner => value,
            _ => self.make(owner, made),
        }
    }

    #[cold]
    fn make(&self, owner: Owner, before: *mut (Owner, T)) -> &T {
        let new = Box::into_raw(Box::new((owner, T::default())));
        let made = match self.made.compare_exchange(before, new, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => new,
            Err(first) => {
                // SAFETY: made above, and not published.
                drop(unsafe { Box::from_raw(new) });
                first
            }
        };
        // SAFETY: published here, and never freed.
        unsafe { &(*made).1 }
    }
}

/// Ends this process at once, whatever its other threads do.
pub(crate) fn end_now() -> ! {
    #[cfg(unix)]
    // SAFETY: `_exit` never returns, and runs no handler of the program.
    unsafe {
        libc::_exit(1)
    }
    #[cfg(not(unix))]
    std::process::abort()
}

#[cfg(target_os = "linux")]
/// A word that is 0 at first, and 0 again in the child of every fork. It is never freed.
fn word_cleared_on_fork() -> &'static AtomicU32 {
    /// Takes the page's place on a kernel older than 4.14, or without memory. A fork past the C library is not seen then.
    static WORD: AtomicU32 = AtomicU32::new(0);
    extern "C" fn forked() {
        WORD.store(0, Ordering::Relaxed);
    }
    /// The smallest page of any machine; the kernel rounds up.
    const PAGE: usize = 4096;
    // SAFETY: a new mapping at a place of the system's choice, which nothing else refers to.
    let page = unsafe {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let page = libc::mmap(std::ptr::null_mut(), PAGE, access, flags, -1, 0);
        if page != libc::MAP_FAILED && libc::madvise(page, PAGE, libc::MADV_WIPEONFORK) == 0 {
            page.cast::<AtomicU32>()
        } else {
            std::ptr::null_mut()
        }
    };
    // SAFETY: null, or aligned to a page, all zeros, and never unmapped.
    unsafe { page.as_ref() }.unwrap_or_else(|| {
        // SAFETY: the handler only stores, which is allowed in a child of a process with several threads.
        unsafe { libc::pthread_atfork(None, None, Some(forked)) };
        &WORD
    })
}

#[cfg(not(target_os = "linux"))]
fn word_cleared_on_fork() -> &'static AtomicU32 {
    static WORD: AtomicU32 = AtomicU32::new(0);
    &WORD
}

#[cfg(all(test, target_os = "linux", not(miri)))]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Forks as the C library does, or past it; gives what the child says.
    fn in_child(by_hand: bool, says: impl FnOnce() -> bool) -> bool {
        // SAFETY: the child only looks at atomics and allocates, and leaves without running anything else.
        let child = unsafe {
            if by_hand {
                libc::pid_t::try_from(libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0)).unwrap_or(-1)
            } else {
                libc::fork()
            }
        };
        if child == 0 {
            let code = i32::from(!says());
            // SAFETY: ends the child here.
            unsafe { libc::_exit(code) };
        }
        let mut status = 0;
        // SAFETY: waits for the child, and writes its status.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
    }

    #[test]
    fn every_kind_of_fork_makes_another_owner() {
        let own = Owner::this_process();
        assert!(own.is_here() && Owner::this_process() == own);
        for by_hand in [false, true] {
            assert!(in_child(by_hand, || {
                let copy = !own.is_here();
                let new = Owner::this_process();
                let grandchild = in_child(by_hand, || !own.is_here() && !new.is_here());
                copy && new != own && new.is_here() && grandchild
            }));
        }
        assert!(own.is_here());
    }

    #[test]
    fn a_lock_that_is_held_at_a_fork_is_free_in_the_child() {
        static LOCK: PerProcess<Mutex<u32>> = PerProcess::new();
        let mut held = LOCK.get().lock().expect("nobody panics");
        *held = 7;
        assert!(in_child(false, || LOCK.get().try_lock().is_ok_and(|value| *value == 0)));
        drop(held);
        assert_eq!(*LOCK.get().lock().expect("nobody panics"), 7);
    }
}
