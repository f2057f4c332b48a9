//! Serial mode: everything runs on the caller's thread, for debugging and for targets without threads. It is on for the
//! whole program by `--cfg fanfold_serial` or `FANFOLD_SERIAL=1`, and inside of [`serial`].

use std::cell::Cell;
use std::sync::atomic::{AtomicU8, Ordering};

/// [`IS_SERIAL`] or [`IS_PARALLEL`] once `FANFOLD_SERIAL` was read, and 0 before; [`ASK_THREAD`] instead of
/// [`IS_PARALLEL`] once [`serial`] was used. So programs that never use it read no thread-local in each call.
static SERIAL: AtomicU8 = AtomicU8::new(0);
const IS_SERIAL: u8 = 1;
const IS_PARALLEL: u8 = 2;
const ASK_THREAD: u8 = 3;

thread_local! {
    /// Whether this thread is inside of [`serial`].
    static IS_INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Whether everything that this thread calls runs on it.
#[inline]
pub(crate) fn is_serial() -> bool {
    cfg!(fanfold_serial)
        || match SERIAL.load(Ordering::Relaxed) {
            IS_SERIAL => true,
            IS_PARALLEL => false,
            other => is_serial_here(other),
        }
}

#[cold]
fn is_serial_here(state: u8) -> bool {
    if state == ASK_THREAD { IS_INSIDE.get() } else { read_variable() }
}

#[cold]
fn read_variable() -> bool {
    let serial = match std::env::var_os("FANFOLD_SERIAL").as_ref().map(|value| value.to_string_lossy()).as_deref() {
        Some("1" | "true") => true,
        Some("" | "0" | "false") | None => false,
        Some(other) => panic!("the environment variable FANFOLD_SERIAL is `{other}`: set it to 1 or 0, or unset it"),
    };
    // Unless another thread has used `serial` meanwhile.
    let state = if serial { IS_SERIAL } else { IS_PARALLEL };
    let _ = SERIAL.compare_exchange(0, state, Ordering::Relaxed, Ordering::Relaxed);
    serial
}

/// Runs `work` serially: direct calls, maps, submitted tasks, frames and scans that it makes run on this thread, one
/// after the other, as with `FANFOLD_SERIAL=1`.
///
/// It is for one call that is to be debugged, profiled, or compared with its parallel form. A submitted task has run
/// when `submit` returns. Time limits do not apply, and functions that wait for each other hang.
///
/// The whole program is serial with the environment variable `FANFOLD_SERIAL=1`, or when it is compiled with
/// `RUSTFLAGS="--cfg fanfold_serial"`: then pools start no threads, so it works on targets that have none. That is no
/// feature of the crate because features are unified: one dependency that enabled it would make the whole program
/// serial. Only who builds the program sets a `--cfg`.
///
/// # Examples
///
/// ```
/// use fanfold::parallel;
///
/// #[parallel(kind = "cpu")]
/// fn thread(_n: u32) -> std::thread::ThreadId {
///     std::thread::current().id()
/// }
///
/// let here = std::thread::current().id();
/// let threads: Vec<_> = fanfold::serial(|| thread::map(0..100).collect());
/// assert!(threads.iter().all(|thread| *thread == here));
/// ```
#[doc(alias = "sequential")]
pub fn serial<T>(work: impl FnOnce() -> T) -> T {
    struct Restore(bool);

    impl Drop for Restore {
        fn drop(&mut self) {
            IS_INSIDE.set(self.0);
        }
    }

    if !cfg!(fanfold_serial) && !is_serial() {
        SERIAL.store(ASK_THREAD, Ordering::Relaxed);
    }
    let _restore = Restore(IS_INSIDE.replace(true));
    work()
}
