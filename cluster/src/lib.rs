//! Fanfold's functions on many machines, with [Apache DataFusion Ballista](https://datafusion.apache.org/ballista) as
//! the engine.
//!
//! One program is everything: started as `myapp cluster scheduler` it gives chunks to executors, as `myapp cluster
//! executor` it runs them, and else it is itself. [`init`] makes it so.
//!
//! ```no_run
//! use fanfold::{parallel, prelude::*};
//! use fanfold_cluster::LocalCluster;
//! use polars::prelude::*;
//!
//! #[parallel(kind = "cluster")]
//! fn double(chunk: DataFrame) -> PolarsResult<DataFrame> {
//!     chunk.lazy().select([col("x") * lit(2)]).collect()
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     fanfold_cluster::init(); // first
//!     let cluster = LocalCluster::start(2)?; // or Cluster::connect("df://scheduler:50050")
//!     let df = df!("x" => 0..1_000_i64)?;
//!     let doubled = df.par_chunks(8).on(&cluster).map(double::task())?;
//!     assert_eq!(doubled.height(), 1_000);
//!     Ok(())
//! }
//! ```
//!
//! - [`Cluster`] is a connection, [`LocalCluster`] one to a cluster that it starts on this machine.
//! - `f::map(items).on(&cluster)` runs a map there: all of [`fanfold::Map`].
//! - `df.par_chunks(n).on(&cluster).map(f::task())` sends the chunks of a frame: [`ClusterChunks`].
//! - `scan_parquet("*.parquet").par_rows(n).on(&cluster).map(f::task())` has the executors read the files:
//!   [`ClusterScan`].
//! - A function of `kind = "cluster"` runs on the cluster that `FANFOLD_CLUSTER=df://host:50050` names, also in its
//!   direct calls; without the variable, in worker processes of this machine, as `kind = "process"`.
//!
//! Executors run every call in a worker process. A call that crashes is tried again, three times in all, and costs its
//! chunk alone. The loss of an executor costs nothing but time: its chunks run on another one.
//!
//! Nothing is authenticated or encrypted: use loopback or a private network. `README.md` in the crate's folder has the
//! set-up of several machines, and says when a cluster is worth it.

mod background;
mod build_id;
mod chunks;
mod cluster;
mod command;
mod connections;
mod dispatch;
mod engine;
mod error;
mod executor;
mod executor_command;
mod files;
mod job;
mod local;
mod logging;
mod message;
mod objects;
mod parent;
mod plan;
mod readiness;
mod scan;
mod scheduler_command;
mod storage;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};

pub use chunks::{ChunkResult, ClusterChunks};
pub use cluster::{Cluster, ClusterOptions};
pub use error::ClusterError;
pub use local::LocalCluster;
pub use scan::{ClusterScan, ClusterScanMap};

/// Whether [`init`] has run.
static READY: AtomicBool = AtomicBool::new(false);

/// Makes this program a scheduler, an executor or a worker process, if it was started as one; and connects functions of
/// `kind = "cluster"` to the cluster that `FANFOLD_CLUSTER` names. Call it first in `main`.
///
/// In a process that was started as a part of a cluster, this function does not return: `myapp cluster scheduler` and
/// `myapp cluster executor` end the process when they are interrupted, and on an error, which is one line on standard
/// error, with the exit code 1. `myapp cluster` lists their options. It calls [`fanfold::init`] too.
pub fn init() {
    fanfold::init();
    fanfold::backend::set_connect(cluster::connect_environment);
    READY.store(true, Ordering::Release);
    command::run_if_given();
}

fn is_initialised() -> bool {
    READY.load(Ordering::Acquire)
}

/// A name that no other one equals: 64 random bits.
fn random_name() -> String {
    // The keys of a new state are random.
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

/// Makes a test program able to start itself as a part of a cluster: `fanfold_cluster::cluster_tests!();` at the top of
/// the file. It runs [`init`] before the test harness's `main`, and includes `fanfold::process_tests!`.
#[macro_export]
macro_rules! cluster_tests {
    () => {
        ::fanfold::process_tests!();
        const _: () = {
            extern "C" fn start() {
                $crate::init_in_tests();
            }
            #[cfg(any(target_os = "linux", target_os = "android"))]
            #[used]
            #[unsafe(link_section = ".init_array")]
            static START: extern "C" fn() = start;
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

/// As [`init`], before `main`. In a worker process it does nothing: the other constructor of [`cluster_tests`] serves
/// the parent, and may run after this one.
#[doc(hidden)]
pub fn init_in_tests() {
    let is_worker = std::env::var_os("FANFOLD_WORKER_OF");
    if is_worker.is_some_and(|parent| parent.to_string_lossy().parse::<u32>().is_ok()) {
        return;
    }
    init();
}
