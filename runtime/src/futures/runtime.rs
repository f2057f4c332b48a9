//! The runtime that polls futures: the caller's Tokio runtime, else Fanfold's own.

use std::future::{Future, poll_fn};
use std::pin::pin;

use tokio::runtime::{Builder, EnterGuard, Handle, Runtime};

use crate::once::TryOnce;
use crate::{block, config, fork, panics};

struct Own {
    runtime: Runtime,
    /// The forks before its threads started.
    forks: u32,
}

/// Fanfold's own runtime: one thread a core. It starts when a future is polled outside of every other.
fn own() -> &'static Runtime {
    static OWN: TryOnce<Own> = TryOnce::new();
    let built = OWN.get_or_fill(|| {
        let forks = fork::count();
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(config::cores()).thread_name("fanfold-async").on_thread_start(block::is_own_runtime);
        #[cfg(feature = "process")]
        builder.on_thread_park(crate::process::end_copy_of_worker);
        let mut built = None;
        // Tokio panics if its first thread is refused, and does with fewer than it asked for otherwise.
        let _ = panics::quietly(|| built = Some(builder.enable_all().build()));
        match built {
            Some(Ok(runtime)) => Ok(Own { runtime, forks }),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("no thread could be started".to_owned()),
        }
    });
    let own = built.unwrap_or_else(|why| {
        panic!("the operating system refused the async runtime's threads ({why}): close other threads or files")
    });
    fork::check(own.forks);
    &own.runtime
}

/// The runtime that this thread is in, else Fanfold's own.
pub(super) fn current() -> Handle {
    Handle::try_current().unwrap_or_else(|_| own().handle().clone())
}

/// Whether this thread is in a runtime.
pub(super) fn is_inside() -> bool {
    Handle::try_current().is_ok()
}

/// Makes Fanfold's own runtime this thread's, if it is in none: sockets and timers want one.
pub(super) fn enter() -> Option<EnterGuard<'static>> {
    (!is_inside()).then(|| own().enter())
}

/// A future that can use sockets and timers whoever polls it.
pub(super) async fn within<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let _entered = enter();
        future.as_mut().poll(context)
    })
    .await
}

/// Runs a future on this thread, and waits for it.
///
/// # Panics
///
/// On the only thread of an async runtime.
#[track_caller]
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    match Handle::try_current() {
        Ok(handle) => block::aside(|| handle.block_on(future)),
        Err(_) => own().block_on(future),
    }
}
