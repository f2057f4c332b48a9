//! The Tokio runtime that polls futures: the caller's, or else Fanfold's own.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;

use tokio::runtime::{Builder, EnterGuard, Handle, Id, Runtime, RuntimeFlavor};

use super::thread_starts::ThreadStarts;
use crate::error::panics;
use crate::pool::block_in_place;
use crate::sys::cpu;
use crate::sys::fork;
use crate::sys::try_once::TryOnceLock;

struct OwnRuntime {
    runtime: Runtime,
    /// The fork generation in which its threads were started.
    generation: u32,
}

/// Fanfold's own runtime, with one thread per core. It starts at the first poll of a future outside of any runtime.
fn own() -> &'static Runtime {
    static OWN: TryOnceLock<OwnRuntime> = TryOnceLock::new();
    let built = OWN.get_or_try_init(|| {
        let generation = fork::generation();
        Ok(OwnRuntime { runtime: build(cpu::cores())?, generation })
    });
    let own = built.unwrap_or_else(|why: String| {
        panic!("the operating system refused the async runtime's threads ({why}): close other threads or files")
    });
    fork::check(own.generation);
    &own.runtime
}

/// How often a runtime is built again where that took too long, as on a machine that was suspended meanwhile.
const SLOW_BUILDS: usize = 10;

/// Builds a runtime with so many threads, or with fewer if the operating system refuses some.
fn build(mut threads: usize) -> Result<Runtime, String> {
    let mut slow_builds = 0;
    while threads > 0 && slow_builds < SLOW_BUILDS {
        let starts = Arc::new(ThreadStarts::default());
        let starting = Arc::clone(&starts);
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(threads).thread_name("fanfold-async").on_thread_start(move || {
            block_in_place::mark_own_runtime_thread();
            starting.wait_until_built();
        });
        #[cfg(feature = "process")]
        builder.on_thread_park(crate::sys::owner::exit_if_forked_worker);
        let mut built = None;
        // Tokio panics if a thread cannot be started.
        let _ = panics::quietly(|| built = Some(builder.enable_all().build()));
        let (started, has_given_up) = starts.end();
        match built {
            Some(Ok(runtime)) if !has_given_up => return Ok(runtime),
            Some(Ok(runtime)) => {
                runtime.shutdown_background();
                slow_builds += 1;
            }
            Some(Err(error)) => return Err(error.to_string()),
            None => threads = started.min(threads - 1),
        }
    }
    Err("no thread could be started".to_owned())
}

/// Whether the runtime has worker threads (`multi_thread`).
pub(super) fn has_threads(runtime: &Handle) -> bool {
    runtime.runtime_flavor() == RuntimeFlavor::MultiThread
}

thread_local! {
    /// The last current-thread runtime that this thread was seen to drive. The check costs a caught panic.
    static DRIVEN: Cell<Option<Id>> = const { Cell::new(None) };
}

/// Whether the runtime polls its tasks without this thread's help: it has worker threads, or this thread is inside its
/// `block_on`. A current-thread runtime that was only entered (`Handle::enter`) may never be driven.
fn is_driven(runtime: &Handle) -> bool {
    if has_threads(runtime) {
        return true;
    }
    let id = runtime.id();
    if DRIVEN.get() == Some(id) {
        return true;
    }
    let is_inside_block_on = !block_in_place::can_block();
    if is_inside_block_on {
        DRIVEN.set(Some(id));
    }
    is_inside_block_on
}

/// The runtime that this thread is in, or else Fanfold's own.
pub(super) fn current_runtime() -> Handle {
    Handle::try_current().unwrap_or_else(|_| own().handle().clone())
}

/// Whether this thread is in a runtime that polls its tasks.
pub(super) fn is_inside() -> bool {
    Handle::try_current().is_ok_and(|here| is_driven(&here))
}

/// Enters Fanfold's own runtime if this thread is in none: Tokio's sockets and timers need one.
pub(super) fn enter() -> Option<EnterGuard<'static>> {
    (!is_inside()).then(|| own().enter())
}

/// Polls a future inside a runtime, so that it can use Tokio's sockets and timers in any executor.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let _entered = enter();
        future.as_mut().poll(context)
    })
    .await
}

/// Runs a future on this thread until it is ready.
///
/// # Panics
///
/// On the only thread of an async runtime.
#[track_caller]
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    match Handle::try_current() {
        Ok(handle) if is_driven(&handle) => block_in_place::in_place(|| handle.block_on(future)),
        Ok(_) => block_in_place::in_place(|| own().block_on(future)),
        Err(_) => own().block_on(future),
    }
}
