//! [`Owner`]: the process that a worker, a segment or a lock belongs to. A fork copies them, and the child must not use
//! the copies.
//!
//! The child of a fork has its parent's memory and descriptors. It could kill the parent's worker processes, take their
//! replies, or free the segments that they read; a forked worker could answer its requests a second time. So each such
//! resource holds an [`Owner`], which is compared before every use that other processes can observe.
//!
//! An owner is a number in a page that the kernel clears in the child of a fork (`MADV_WIPEONFORK`). A comparison costs
//! two loads. `pthread_atfork` would not do: its handlers do not run for `clone` and for direct system calls. The child
//! of a `vfork` shares its parent's memory, this page included: see [`exit_if_vforked_worker`].
//!
//! Other Unix systems have no such page, so `pthread_atfork` clears the word there: forks by `fork` alone are noticed.
//! Windows has no fork.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// The number of a process, unique among the processes of a chain of forks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner(u32);

/// The word that holds this process's number, 0 in the child of a fork; null before the first use.
static WORD: AtomicPtr<AtomicU32> = AtomicPtr::new(std::ptr::null_mut());

/// The last number used by this process or by those that it was forked from.
static NUMBERS: AtomicU32 = AtomicU32::new(0);

/// The owner number of a worker process, and its process id. A fork copies both. They are 0 in all other processes.
static WORKER: AtomicU32 = AtomicU32::new(0);
static WORKER_ID: AtomicU32 = AtomicU32::new(0);

impl Owner {
    /// This process.
    pub(crate) fn this_process() -> Self {
        let mut word = WORD.load(Ordering::Acquire);
        if word.is_null() {
            let new = std::ptr::from_ref(word_cleared_on_fork()).cast_mut();
            // Another thread may be first. The page of the slower one stays mapped.
            word = match WORD.compare_exchange(word, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => new,
                Err(first) => first,
            };
        }
        // SAFETY: not null, so it comes from `word_cleared_on_fork`, whose words are never freed.
        let word = unsafe { &*word };
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

    /// Whether this process is the owner, and not a forked copy of it.
    #[inline]
    pub(crate) fn is_this_process(self) -> bool {
        current_number() == self.0
    }

    /// Marks this process as a worker process, whose forked copies exit at [`exit_if_forked_worker`].
    pub(crate) fn become_worker(self) {
        WORKER_ID.store(std::process::id(), Ordering::Relaxed);
        WORKER.store(self.0, Ordering::Relaxed);
    }
}

/// The number of this process; 0 if it has none yet.
#[inline]
fn current_number() -> u32 {
    // SAFETY: null, or a word from `word_cleared_on_fork`, which is never freed.
    unsafe { WORD.load(Ordering::Acquire).as_ref() }.map_or(0, |word| word.load(Ordering::Relaxed))
}

/// Exits, without exit handlers, if this process is a forked copy of a worker process. Callers are about to do what
/// only the worker may: answer, write to memory shared with the parent, or wait for the next request.
///
/// It does not detect the child of a `vfork`: see [`exit_if_vforked_worker`].
#[inline]
pub(crate) fn exit_if_forked_worker() {
    let worker = WORKER.load(Ordering::Relaxed);
    if worker != 0 && worker != current_number() {
        exit_now();
    }
}

/// As [`exit_if_forked_worker`], where code of the user makes the copy do it: stderr says why it ends.
#[inline]
pub(crate) fn refuse_forked_worker() {
    let worker = WORKER.load(Ordering::Relaxed);
    if worker != 0 && worker != current_number() {
        refuse();
    }
}

#[cold]
fn refuse() -> ! {
    #[cfg(unix)]
    {
        const MESSAGE: &str = "fanfold: a function of `kind = \"process\"` forked its worker, and the copy used a channel \
                               or a value of `fanfold::shared`, which belong to the worker: use them in the worker \
                               alone, and end the copy by `exec` or `_exit`\n";
        // SAFETY: `write` is async-signal-safe; the pointer and the length are those of `MESSAGE`. The lock of
        // `std::io::stderr` may be held by a thread that does not exist here.
        unsafe { libc::write(libc::STDERR_FILENO, MESSAGE.as_ptr().cast(), MESSAGE.len()) };
    }
    exit_now()
}

/// Exits, without exit handlers, if this process is the child of a `vfork` of a worker process. The child shares all
/// memory with the worker, whose thread is suspended until the child exits. Only the process id differs, and reading it
/// is a system call of 140 ns.
pub(crate) fn exit_if_vforked_worker() {
    let worker = WORKER_ID.load(Ordering::Relaxed);
    if worker != 0 && worker != std::process::id() {
        exit_now();
    }
}

/// A static value of which each process has its own. The child of a fork starts with a new one, as a lock that a thread
/// of the parent held at the fork would never be released in the child.
pub(crate) struct PerProcess<T> {
    /// The newest value and its owner. Values are never freed; each fork leaks one.
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
        // SAFETY: null, or a box that `make` published, which is never freed.
        match unsafe { made.as_ref() } {
            Some((made_by, value)) if *made_by == owner => value,
            _ => self.make(owner, made),
        }
    }

    #[cold]
    fn make(&self, owner: Owner, before: *mut (Owner, T)) -> &T {
        let new = Box::into_raw(Box::new((owner, T::default())));
        let made = match self.made.compare_exchange(before, new, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => new,
            Err(first) => {
                // SAFETY: `new` comes from `Box::into_raw` above, and the failed exchange has not published it.
                drop(unsafe { Box::from_raw(new) });
                first
            }
        };
        // SAFETY: `made` is the published box, which is never freed.
        unsafe { &(*made).1 }
    }
}

/// Exits at once, without exit handlers.
pub(crate) fn exit_now() -> ! {
    #[cfg(unix)]
    // SAFETY: `_exit` has no preconditions.
    unsafe {
        libc::_exit(1)
    }
    #[cfg(not(unix))]
    std::process::abort()
}

/// A word that is 0 at first, and 0 again in the child of every fork. It is never freed.
#[cfg(all(target_os = "linux", not(fanfold_portable)))]
fn word_cleared_on_fork() -> &'static AtomicU32 {
    /// The smallest page size of any machine; the kernel rounds up.
    const PAGE: usize = 4096;
    // SAFETY: an anonymous mapping at an address that the kernel chooses, so it overlaps no other; `madvise` is passed
    // that mapping and its size.
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
    // SAFETY: null, or the start of a page that is zeroed, writable and never unmapped.
    unsafe { page.as_ref() }.unwrap_or_else(word_cleared_by_handler)
}

#[cfg(any(not(target_os = "linux"), fanfold_portable))]
fn word_cleared_on_fork() -> &'static AtomicU32 {
    word_cleared_by_handler()
}

/// Replaces the page on systems other than Linux, on a kernel before 4.14, and if no memory is left. It misses forks
/// that bypass the C library.
fn word_cleared_by_handler() -> &'static AtomicU32 {
    static WORD: AtomicU32 = AtomicU32::new(0);
    #[cfg(all(unix, not(miri)))]
    {
        extern "C" fn forked() {
            WORD.store(0, Ordering::Relaxed);
        }
        // SAFETY: the handler stores to an atomic and does nothing else, so it is async-signal-safe, as the child of a
        // process with several threads requires.
        unsafe { libc::pthread_atfork(None, None, Some(forked)) };
    }
    &WORD
}

#[cfg(all(test, unix, not(miri)))]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A way to fork.
    type Fork = unsafe extern "C" fn() -> libc::pid_t;

    #[cfg(all(target_os = "linux", not(fanfold_portable)))]
    unsafe extern "C" fn fork_by_system_call() -> libc::pid_t {
        // SAFETY: without flags and without a stack this is a fork, whose conditions the caller upholds.
        let child = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
        libc::pid_t::try_from(child).unwrap_or(-1)
    }

    /// The ways to fork that change the owner.
    const FORKS: &[Fork] = &[
        libc::fork,
        #[cfg(all(target_os = "linux", not(fanfold_portable)))]
        fork_by_system_call,
    ];

    /// Forks, and returns whether `check` holds in the child.
    fn in_child(fork: Fork, check: impl FnOnce() -> bool) -> bool {
        // SAFETY: the child reads atomics, allocates, and exits by `_exit`. This test holds no lock at the fork.
        let child = unsafe { fork() };
        if child == 0 {
            let code = i32::from(!check());
            // SAFETY: `_exit` has no preconditions.
            unsafe { libc::_exit(code) };
        }
        let mut status = 0;
        // SAFETY: `status` is writable.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
    }

    #[test]
    fn every_kind_of_fork_changes_the_owner() {
        let own = Owner::this_process();
        assert!(own.is_this_process() && Owner::this_process() == own);
        for fork in FORKS {
            assert!(in_child(*fork, || {
                let copy = !own.is_this_process();
                let new = Owner::this_process();
                let grandchild = in_child(*fork, || !own.is_this_process() && !new.is_this_process());
                copy && new != own && new.is_this_process() && grandchild
            }));
        }
        assert!(own.is_this_process());
    }

    #[test]
    fn a_lock_held_at_a_fork_is_free_in_the_child() {
        static LOCK: PerProcess<Mutex<u32>> = PerProcess::new();
        let mut held = LOCK.get().lock().expect("no thread panics with the lock");
        *held = 7;
        assert!(in_child(libc::fork, || LOCK.get().try_lock().is_ok_and(|value| *value == 0)));
        drop(held);
        assert_eq!(*LOCK.get().lock().expect("no thread panics with the lock"), 7);
    }
}
