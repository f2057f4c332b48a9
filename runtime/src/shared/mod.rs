//! What processes and threads share: [`Counter`], [`Flag`], [`Mutex`] and [`Bytes`], in shared memory.
//!
//! Each is made in one process and passed to functions of any kind as an argument, also `kind = "process"`, or through
//! a [channel](crate::channel()), as a whole value or as the field of a struct that derives serde's traits. The other
//! process gets a handle of the same memory. A clone is another handle in this process. The memory is freed with the last
//! handle, whichever process has it, however that ends.
//!
//! `new` panics if there is no shared memory for a single value, as at the limit of open files. [`Bytes::new`] returns
//! that error, because the caller chooses how much it asks for.
//!
//! A process that has a handle may change what it shares at any time, so nobody relies on what they read: each read is
//! a copy, and a [`Mutex`] checks the value that it reads. Waiting for a process that does not answer ends with the
//! limit of [`Flag::wait_timeout`] and [`Mutex::lock_timeout`], and a lock whose holder has ended is
//! [`Poisoned`](LockError::Poisoned).
//!
//! Async code waits with [`Flag::wait_async`] and [`Mutex::lock_async`], which block no thread.
//!
//! | Python's `multiprocessing` | here |
//! |---|---|
//! | `Value("q", 0)` | [`Counter`] |
//! | `Event()` | [`Flag`] |
//! | `Lock()`, and a value of a `Manager` that it guards | [`Mutex`] |
//! | `Array`, `shared_memory.SharedMemory` | [`Bytes`] |
//! | `Queue`, `Pipe` | [`fanfold::channel`](crate::channel()) |
//!
//! # Examples
//!
//! ```standalone_crate
//! use fanfold::shared::{Counter, Flag};
//!
//! #[fanfold::parallel(kind = "process")]
//! fn search(from: u64, found: Counter, stop: Flag) {
//!     for n in from..from + 1_000 {
//!         if stop.is_set() {
//!             return;
//!         }
//!         if n % 777 == 776 {
//!             found.set(n as i64);
//!             stop.set();
//!         }
//!     }
//! }
//!
//! #[fanfold::main]
//! fn main() -> Result<(), fanfold::TaskError> {
//!     let (found, stop) = (Counter::new(0), Flag::new());
//!     search::submit(0, found.clone(), stop.clone()).join()?;
//!     assert!(stop.is_set());
//!     assert_eq!(found.get(), 776);
//!     Ok(())
//! }
//! ```

mod bytes;
mod counter;
mod flag;
mod memory;
mod mutex;
mod poll;
#[cfg(all(test, target_os = "linux", not(fanfold_portable)))]
mod tests;

pub use bytes::Bytes;
pub use counter::Counter;
pub use flag::Flag;
pub use mutex::{LockError, Mutex, MutexGuard};

/// Another process gets a handle of the same memory.
macro_rules! handle {
    ($type:ident $(<$of:ident>)?) => {
        impl$(<$of>)? crate::process::Direct for $type$(<$of>)? {
            fn write(&self, out: &mut crate::process::Encoder<'_>) -> Result<(), crate::process::CodecError> {
                self.memory().write(out)
            }

            fn read(input: &mut crate::process::Decoder<'_>) -> Result<Self, crate::process::CodecError> {
                super::memory::Memory::received(input).and_then(Self::of)
            }
        }

        crate::process::wire!($type$(<$of>)?);
    };
}
use handle;
