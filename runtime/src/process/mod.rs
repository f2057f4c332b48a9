//! Worker processes: a pool whose threads run nothing themselves, but have a process each that does.
//!
//! ```text
//!   parent                                              worker: the same program
//!   queue -> seat.rs: a thread and a worker             worker.rs: takes requests, runs them
//!            host.rs: starts it, asks it, buries it     serve.rs: arguments in, results out
//!                        \                              /
//!                         ring.rs: requests and replies, in shared memory
//!                         segments.rs: large blocks, in shared memory of their own
//! ```
//!
//! `stable.rs` has the workers that wait; `spawner.rs` starts them, `starts.rs` says how often that may fail,
//! `pidfd.rs` has their processes, and `refused.rs` says what the system refused. `owner.rs` keeps the copies that a
//! fork makes away from all of it. `pipeline.rs` has several short calls on their way to a worker at once. `pipe.rs` is
//! what channels are made of, and `readiness.rs` how async tasks wait for them. `foreign.rs` closes what another
//! process has sent.
//!
//! A function is an entry of a table that the linker fills (`registry.rs`), known to both because both are the same
//! program. How its arguments and its result cross, `probe.rs` asks at the types that the user wrote, and `wire.rs`
//! does; `exact` sees to it that what is read is what was written. `remote.rs` puts the parts together.
//!
//! # Why a transport of our own
//!
//! ipc-channel and interprocess carry messages over sockets: a system call for each, and a copy into the kernel and out
//! of it. Here small calls go through a ring, many for one wake-up; what a worker had done when it died can be read
//! from it; and large data stays where it is. The comparison (`benches`, part `processes`) has all of them side by
//! side, and the serial formats: postcard, rmp-serde and bitcode take about as long, and postcard is exact (see
//! `wire.rs`).
//!
//! # Trust
//!
//! The author of a hostile file may control the worker that parses it. `README.md` states what such a worker can do to
//! its parent and what it cannot, and the protocol in brief.
//!
//! # Systems
//!
//! `os.rs` is Linux: shared memory without a name (`memfd`), sleeping on a word of it (futex), a signal at the parent's
//! end. Elsewhere the crate compiles (`os_elsewhere.rs`), and pools of processes say that they cannot be made.

mod child;
pub(crate) mod codec;
mod handshake;
mod idle_slots;
mod message;
pub(crate) mod os;
mod pipeline;
mod readiness;
pub(crate) mod registry;
mod request_replies;
mod role;
mod running_tasks;
pub(crate) mod serve;
mod socket;
mod spawner;
pub(crate) mod start_limit;
mod startup;
#[cfg(all(test, target_os = "linux"))]
mod tests;
pub(crate) mod transport;
mod worker;
pub(crate) mod worker_slot;

use std::sync::atomic::{AtomicBool, Ordering};

pub use codec::direct::Bytes;
pub use codec::dispatch::{Dispatch, HasNoPlace, HasNoSides, HasOwnWay, HasPlace, HasSides, MustBeSerde};
pub use codec::{Code, Wire};
pub use registry::{ENTRIES, Entry};
pub use serve::Serving;
pub use startup::{Constructor, construct};

pub(crate) use child::WorkerLimits;
pub(crate) use codec::{CodecError, Decoder, Direct, Encoder, catch_codec_panic, read_value, write_value};
pub(crate) use idle_slots::IdleSlots;
pub(crate) use pipeline::{PipelineSource, PipelinedTask, pipeline};
pub(crate) use role::is_worker_process;
pub(crate) use running_tasks::kill_worker_of;
pub(crate) use socket::{ChannelMessage, ChannelSocket};

/// Whether this program can start itself as a worker.
static READY: AtomicBool = AtomicBool::new(false);

/// Makes this program able to start itself as a worker process. It must come first in `main`:
/// [`#[fanfold::main]`](macro@crate::main) sees to that.
///
/// In a process that was started as a worker it serves its parent, and never returns: what comes after it in `main`
/// runs in no worker, also where the parent ends while the worker starts.
///
/// A program with more rights than its caller, by a set-user-ID or set-group-ID bit or capabilities of its file, has no
/// workers: whoever starts such a program could pass for its parent.
///
/// # Examples
///
/// ```standalone_crate
/// use fanfold::parallel;
///
/// #[parallel(kind = "process")]
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// fn main() {
///     fanfold::init();
///     assert_eq!(square(7), 49); // in another process
/// }
/// ```
pub fn init() {
    startup::serve_if_worker();
    READY.store(true, Ordering::Release);
}

/// Why there can be no process pool here.
pub(crate) fn unavailable_reason() -> Option<&'static str> {
    if os::UNSUPPORTED_REASON.is_some() {
        return os::UNSUPPORTED_REASON;
    }
    if is_worker_process() {
        Some(
            "this is a worker process, and workers have no workers of their own: call the function, which runs here \
             and now in a worker, or use `kind = \"cpu\"`",
        )
    } else if !READY.load(Ordering::Acquire) {
        Some(
            "this program cannot start itself as a worker process: put `#[fanfold::main]` on `main`, or \
             `fanfold::init()` first in it; in a test, `fanfold::process_tests!();` at the top of the file",
        )
    } else if os::acts_for_another_user() {
        Some(
            "this program acts for another user than its caller (a set-user-ID or set-group-ID file), and has no worker \
             processes: take on one identity first (`setresuid`, `setresgid`), or use `kind = \"cpu\"`",
        )
    } else {
        None
    }
}

/// Makes a test program able to start itself as a worker process: `fanfold::process_tests!();` at the top of the file.
///
/// The test harness has a `main` of its own, so this runs [`init`](crate::init) before any `main`. In a worker it does
/// so when the program's other constructors have run: what libraries register before `main` (`inventory`, `typetag`) is
/// there, and writing to a closed pipe is an error, as in `main`. It differs in two things that Rust's runtime alone
/// can do: panic messages do not name the thread `main`, and a stack overflow ends the worker without a message.
///
/// # Examples
///
/// ```no_run
/// fanfold::process_tests!();
///
/// #[fanfold::parallel(kind = "process")]
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// #[test]
/// fn squares() {
///     assert_eq!(square(7), 49);
/// }
/// ```
#[macro_export]
macro_rules! process_tests {
    () => {
        const _: () = {
            #[cfg(target_os = "linux")]
            unsafe extern "C" fn start(argc: i32, argv: *const *const u8, envp: *const *const u8) {
                use $crate::__private::{Constructor, construct};
                // The linker defines both, in every program.
                unsafe extern "C" {
                    static __init_array_start: [::core::option::Option<Constructor>; 0];
                    static __init_array_end: [::core::option::Option<Constructor>; 0];
                }
                let table = (&raw const __init_array_start, &raw const __init_array_end);
                // SAFETY: the loader calls this as one of the functions of that table.
                unsafe { construct(start, (table.0.cast(), table.1.cast()), (argc, argv, envp)) }
            }
            // The loader calls what stands in this section before `main`.
            #[cfg(target_os = "linux")]
            #[used]
            #[unsafe(link_section = ".init_array")]
            static START: $crate::__private::Constructor = start;
        };
    };
}
