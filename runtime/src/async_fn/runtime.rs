//! The runtime that polls futures: the caller's Tokio runtime, else Fanfold's own.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;

use tokio::runtime::{Builder, EnterGuard, Handle, Id, Runtime, RuntimeFlavor};

use crate::error::panics;
use crate::pool::block_in_place;
use crate::sys::cpu;
use crate::sys::fork;
use crate::sys::try_once::TryOnce;

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
        builder
            .worker_threads(cpu::cores())
            .thread_name("fanfold-async")
            .on_thread_start(block_in_place::mark_own_runtime_thread);
        #[cfg(feature = "process")]
        builder.on_thread_park(crate::sys::owner::end_copy_of_worker);
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

/// Whether a runtime has threads of its own that poll its tasks.
pub(super) fn has_threads(runtime: &Handle) -> bool {
    runtime.runtime_flavor() == RuntimeFlavor::MultiThread
}

thread_local! {
    /// The last runtime of one thread that this thread was seen to drive: the question costs a panic.
    static DRIVEN: Cell<Option<Id>> = const { Cell::new(None) };
}

/// Whether a runtime polls its tasks though this thread does not wait for them: it has threads for that, or this thread
/// is inside of its `block_on`. One of a single thread that was only entered may never be driven.
fn is_at_work(runtime: &Handle) -> bool {
    if has_threads(runtime) {
        return true;
    }
    let id = runtime.id();
    if DRIVEN.get() == Some(id) {
        return true;
    }
    let inside = !block_in_place::can_block();
    if inside {
        DRIVEN.set(Some(id));
    }
    inside
}

/// The runtime that this thread is in, else Fanfold's own.
pub(super) fn current() -> Handle {
    Handle::try_current().unwrap_or_else(|_| own().handle().clone())
}

/// Whether this thread is in a runtime that polls what it is given.
pub(super) fn is_inside() -> bool {
    Handle::try_current().is_ok_and(|here| is_at_work(&here))
}

/// Makes Fanfold's own runtime this thread's, if it is in none: sockets and timers want one.
pub(super) fn enter() -> Option<EnterGuard<'static>> {
    (!is_inside()).then(|| own().enter())
}

/// A future that can use sockets and timers whoever polls it.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
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
        Ok(handle) if is_at_work(&handle) => block_in_place::in_place(|| handle.block_on(future)),
        Ok(_) => block_in_place::in_place(|| own().block_on(future)),
        Err(_) => own().block_on(future),
    }
}
