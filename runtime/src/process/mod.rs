//! Worker processes: a pool whose threads do not run functions themselves, but send each call to a process of their
//! own.
//!
//! `README.md` in this folder describes the protocol, what happens when a worker dies, and what a compromised worker
//! can do to its parent.
//!
//! ```text
//!   parent                                                worker: the same program, started again
//!   pool queue -> worker_slot.rs: a slot with a worker    startup.rs: is this process a worker?
//!                 child.rs: the handle of the worker      worker.rs: takes requests, runs them
//!                                                         serve.rs: reads arguments, writes results
//!                         \                               /
//!                          transport/ring.rs: requests and replies, in shared memory
//!                          transport/segments/: large blocks, in shared memory of their own
//!                          message.rs: a frame with its attachments
//!                          codec/: values as bytes
//! ```
//!
//! The parent's side: `idle_slots.rs` has the slots that run nothing, `current_slot.rs` is the slot of a thread,
//! `request_replies.rs` receives replies, `pipeline.rs` keeps several short calls in flight, and `running_tasks.rs`
//! knows which worker to kill for a cancelled task. `spawner.rs` starts processes, `start_limit.rs` bounds failing
//! starts, `startup.rs` decides whether a new process is a worker, and `handshake.rs` checks that parent and worker are
//! the same build. `registry.rs` is the table of functions that both share. `socket.rs` and `readiness.rs` are the ends
//! of channels, for threads and for async tasks. `role.rs` says whether this process is a worker. `os/` has the system
//! calls.
//!
//! A fork copies all of this, and the copy must not use it: every resource has an [`Owner`](crate::sys::owner::Owner).
//!
//! # Why not an existing transport
//!
//! The crates ipc-channel and interprocess send messages over sockets, which costs a system call for each message, and
//! a copy into the kernel and out of it. Here a short call goes through a ring in shared memory, with one wake-up for
//! many calls; large data is not copied on its way; and the parent can read what a worker had finished when it died.
//! The benchmark (`benches`, part `processes`) compares these crates, and the formats postcard, rmp-serde and bitcode.
//! None of the self-describing formats reads all values as they were written, so there is one more (`codec/strict`).
//!
//! # Systems
//!
//! `os/linux` uses what Linux alone has: sealed anonymous memory (`memfd`), futexes in shared memory, pidfds, and the
//! death signal of the parent. `os/portable` has the same operations for macOS, other Unixes and Windows; the rings, the
//! segments and the codec are the same. `README.md` says what differs. `--cfg fanfold_portable` chooses it on Linux, so
//! that the same tests run over both: `runtime/portable/run`. It is a `cfg` and no feature, because features of one crate
//! are on for all crates of a build.

pub(crate) mod backend;
mod child;
pub(crate) mod codec;
pub(crate) mod current_slot;
mod exit_report;
mod handshake;
mod idle_slots;
mod limits;
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
mod start_error;
pub(crate) mod start_limit;
mod startup;
#[cfg(all(test, target_os = "linux"))]
mod tests;
pub(crate) mod transport;
mod worker;
mod worker_hooks;
pub(crate) mod worker_slot;

use std::sync::atomic::{AtomicBool, Ordering};

pub use codec::direct::Bytes;
pub use codec::dispatch::{Dispatch, HasLocalState, HasNoPlace, HasNoSides, MustBeSerde};
pub use codec::{Code, Wire};
pub use registry::{ENTRIES, Entry};
pub use serve::Serving;
pub use startup::{Constructor, construct};

pub(crate) use codec::{
    CodecError, Decoder, Direct, Encoder, catch_codec_panic, check_local_state, read_message, read_value,
    refuse_local_state, wire, write_message, write_value,
};
pub(crate) use idle_slots::IdleSlots;
pub(crate) use limits::WorkerLimits;
pub(crate) use os::Handle;
pub(crate) use pipeline::{PipelineSource, PipelinedTask, pipeline};
pub(crate) use readiness::Readiness;
pub(crate) use role::is_worker_process;
pub(crate) use running_tasks::kill_workers_of;
pub(crate) use socket::{ChannelMessage, ChannelSocket, has_no_receiver};
pub(crate) use worker_hooks::{WorkerHooks, offset_of};

/// Whether [`init`] has run, so that this program can be started as a worker process.
static READY: AtomicBool = AtomicBool::new(false);

/// Makes this program able to start itself as a worker process. Call it first in `main`, as
/// [`#[fanfold::main]`](macro@crate::main) does.
///
/// In a process that was started as a worker, this function serves the parent and never returns. The rest of `main`
/// runs in no worker, even if the parent ends while the worker starts.
///
/// A program with more rights than its caller (a set-user-ID or set-group-ID bit, or capabilities of its file) has no
/// worker processes, because its caller could take the parent's place.
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
#[doc(alias = "freeze_support")]
pub fn init() {
    startup::serve_if_worker();
    READY.store(true, Ordering::Release);
}

/// Why this process can have no pool of worker processes.
pub(crate) fn unavailable_reason() -> Option<&'static str> {
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
            "this program acts for another user than its caller (a set-user-ID or set-group-ID file), and has no \
             worker processes: take on one identity first (`setresuid`, `setresgid`), or use `kind = \"cpu\"`",
        )
    } else {
        None
    }
}

/// Makes a test program able to start itself as a worker process: `fanfold::process_tests!();` at the top of the file.
///
/// The test harness has a `main` of its own, so this macro runs [`init`](crate::init) before any `main`. In a worker it
/// runs when the program's other constructors have run: what libraries register before `main` (`inventory`, `typetag`)
/// is there, and a write to a closed pipe is an error, as in `main`. Two things differ, because only Rust's runtime can
/// do them: panic messages do not name the thread `main`, and a stack overflow ends the worker without a message. On
/// systems other than Linux the constructors behind this one do not run in a worker.
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
                // The linker defines both symbols in every program.
                unsafe extern "C" {
                    static __init_array_start: [::core::option::Option<Constructor>; 0];
                    static __init_array_end: [::core::option::Option<Constructor>; 0];
                }
                let table = (&raw const __init_array_start, &raw const __init_array_end);
                // SAFETY: the loader calls `start`, which is an entry of the table between the two symbols, with these
                // arguments.
                unsafe { construct(start, (table.0.cast(), table.1.cast()), (argc, argv, envp)) }
            }
            // The loader calls the functions in this section before `main`.
            #[cfg(target_os = "linux")]
            #[used]
            #[unsafe(link_section = ".init_array")]
            static START: $crate::__private::Constructor = start;
            // Elsewhere a worker begins at once, before the constructors behind this one.
            #[cfg(not(target_os = "linux"))]
            extern "C" fn start() {
                $crate::init();
            }
            #[cfg(windows)]
            #[used]
            #[unsafe(link_section = ".CRT$XCU")]
            static START: extern "C" fn() = start;
            #[cfg(target_vendor = "apple")]
            #[used]
            #[unsafe(link_section = "__DATA,__mod_init_func")]
            static START: extern "C" fn() = start;
        };
    };
}
