//! Pools of worker threads: queues, permits, waking, spawning, blocking, shutdown. `README.md` in this folder describes
//! the protocol: the states of a worker, permits, which thread wakes which, and the tests of each invariant.
//!
//! | file | content |
//! |---|---|
//! | `handle.rs`, `process_pool.rs`, `stats.rs` | [`Pool`], the public handle; its methods for processes; [`Stats`] |
//! | `counts.rs`, `histogram.rs`, `task_clock.rs` | what `Stats` adds up: counts, and how long tasks wait and run |
//! | `listing.rs` | `pools`: the name, kind and stats of every pool |
//! | `serial.rs`, `resize.rs` | serial mode; changing the number of workers |
//! | `spec.rs`, `config.rs` | the options of one pool; the sizes of the default pools |
//! | `core.rs`, `hooks.rs` | [`Core`], a running pool: start, push, run a job; the hooks of its threads |
//! | `kind_check.rs` | panics where a function is given a pool of the wrong kind |
//! | `job.rs`, `process_job.rs` | the trait [`Job`]; jobs that are pipelined to a worker process |
//! | `queue/` | the queue, its lock, permits, sleeping threads, removal of dead jobs |
//! | `queue_limit.rs` | how many tasks may wait, and what waits to submit one more |
//! | `blocking.rs` | worker threads of io, frame and process pools, which may block |
//! | `cpu/` | worker threads of cpu pools, which are rayon's |
//! | `idle.rs` | how long a worker, or a thread that joins a task, spins before it parks |
//! | `spawn.rs`, `spawn_retry.rs`, `overflow_worker.rs` | waking and spawning threads; retries; a thread for one job |
//! | `load.rs`, `computing.rs` | whether a map wakes helpers, and how many threads compute |
//! | `current_worker/` | the pool of the current thread, [`blocking_section`], and permits borrowed from another pool |
//! | `block_in_place.rs`, `runtime_wait.rs` | blocking a thread of an async runtime |
//! | `runtime_warning.rs` | the warning about it, in debug builds |
//! | `fork_join.rs` | [`join`](fork_join::join): two closures, as rayon's `join` |
//! | `install.rs` | `Pool::install`: a closure on a worker, for whose result the caller waits |
//! | `broadcast.rs` | `Pool::broadcast`: a closure on each worker thread |
//! | `scoped.rs`, `lease.rs` | running a closure that borrows from the caller's stack |
//! | `frame_pool.rs`, `polars_threads.rs` | the threads for DataFrame chunks, on which Polars' own are off |
//! | `worker_state.rs`, `span.rs` | per-worker state (`init = path`); the `tracing` span of a caller |
//! | `work_span.rs`, `recorder.rs` | pieces of work as `tracing` spans, and as the entries of a report |
//! | `timer.rs`, `async_tasks.rs` | the timer thread; the count of submitted futures |
//! | `registry.rs`, `shutdown.rs`, `fork_handlers.rs` | all pools; their end; `fork` |

// The documentation of `Pool` shows the constructors and options first.
pub(crate) mod handle;

#[cfg(feature = "tokio")]
pub(crate) mod async_tasks;
pub(crate) mod block_in_place;
mod blocking;
mod broadcast;
mod computing;
pub(crate) mod config;
mod core;
mod counts;
mod cpu;
pub(crate) mod current_worker;
#[cfg(all(unix, not(miri)))]
mod fork_handlers;
pub(crate) mod fork_join;
#[cfg(feature = "polars")]
mod frame_pool;
mod histogram;
mod hooks;
mod idle;
mod install;
mod job;
mod kind_check;
mod lease;
pub(crate) mod listing;
mod load;
mod overflow_worker;
#[cfg(feature = "polars")]
pub(crate) mod polars_threads;
#[cfg(feature = "process")]
mod process_job;
#[cfg(feature = "process")]
mod process_pool;
mod queue;
pub(crate) mod queue_limit;
#[cfg(feature = "trace")]
pub(crate) mod recorder;
mod registry;
mod resize;
pub(crate) mod runtime_wait;
pub(crate) mod runtime_warning;
pub(crate) mod scoped;
pub(crate) mod serial;
pub(crate) mod shutdown;
pub(crate) mod span;
mod spawn;
mod spawn_retry;
mod spec;
mod stats;
pub(crate) mod task_clock;
pub(crate) mod timer;
pub(crate) mod work_span;
pub(crate) mod worker_state;

pub use handle::Pool;
pub use histogram::Histogram;
pub use shutdown::{Pending, ShutdownMode};
pub use spec::BuildError;
pub use stats::Stats;

pub(crate) use self::core::{Core, CoreRef};
pub(crate) use computing::ComputingGuard;
pub(crate) use current_worker::{
    blocking_section, blocking_section_until, is_any_cancelled, is_cancelled_here, is_worker, job_core, mark_cpu_work,
    park_until, run_as_worker, run_claimed, wait_until, wait_until_deadline, with_permit,
};
#[cfg(feature = "process")]
pub(crate) use job::PreparedJob;
pub(crate) use job::{Job, JobEnd};
pub(crate) use load::Load;
pub(crate) use overflow_worker::STALL_CHECK;
pub(crate) use queue::permit::Permit;
pub(crate) use spawn_retry::refusals;
pub use spec::Kind;
pub(crate) use spec::{Limits, ProcessHooks, Spec};
