//! The tokio runtime of the driver's connections. Callers may be threads of another runtime, so they never enter it:
//! they wait at a channel.

use std::future::Future;
use std::sync::OnceLock;
use std::sync::mpsc;

use tokio::runtime::{Builder, Runtime};

use crate::ClusterError;

/// Threads of the runtime. It waits for the network; functions run elsewhere.
const THREADS: usize = 2;

fn runtime() -> Result<&'static Runtime, ClusterError> {
    static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
    let made = RUNTIME.get_or_init(|| {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(THREADS).thread_name("fanfold-cluster").enable_all();
        builder.build().map_err(|error| error.to_string())
    });
    made.as_ref().map_err(|why| ClusterError::new(format!("the cluster's connections cannot have threads: {why}")))
}

/// Runs a future in the background.
pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Result<(), ClusterError> {
    runtime()?.spawn(future);
    Ok(())
}

/// Runs a future in the background, and waits for it.
pub(crate) fn wait<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Result<T, ClusterError> {
    let (give, take) = mpsc::sync_channel(1);
    spawn(async move {
        let _ = give.send(future.await);
    })?;
    take.recv().map_err(|_| ClusterError::new("an operation of the cluster's connection panicked"))
}
