//! The runtime that polls futures: the caller's Tokio runtime, else Fanfold's own.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, EnterGuard, Handle, Id, Runtime, RuntimeFlavor};

use crate::error::panics;
use crate::pool::{self, block_in_place, config};
use crate::sys::try_once::TryOnce;
use crate::sys::{fork, park};

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
            .worker_threads(config::cores())
            .thread_name("fanfold-async")
            .on_thread_start(block_in_place::is_own_runtime);
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
    let inside = !block_in_place::may_block();
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

/// How long a runtime of one thread may take to poll a task before it counts as driven by no thread.
const DRIVEN_WITHIN: Duration = Duration::from_secs(3);

/// Waits until a runtime of one thread polls a task; `false` if it does not. A deadline before that is for the caller to
/// notice, and a thread that the runtime started itself need not ask: it has a driver, which may be busy for longer.
pub(crate) fn is_driven(runtime: &Handle, deadline: Option<Instant>) -> bool {
    let limit = Instant::now() + DRIVEN_WITHIN;
    if deadline.is_some_and(|deadline| deadline < limit) || is_blocking_thread_of(runtime) {
        return true;
    }
    let seen = Arc::new(AtomicBool::new(false));
    let probe = Probe { seen: Arc::clone(&seen), waiter: park::waker() };
    drop(runtime.spawn(async move { drop(probe) }));
    pool::wait_until_deadline(|| seen.load(Ordering::Acquire), limit)
}

/// Whether this thread runs a closure of the runtime's `spawn_blocking`: that is a task, and the one kind that is polled
/// outside of every `block_on`. A worker of another runtime that has entered this one runs a task too, but inside of one.
fn is_blocking_thread_of(runtime: &Handle) -> bool {
    let is_task_here = tokio::task::try_id().is_some();
    is_task_here
        && Handle::try_current().is_ok_and(|here| here.id() == runtime.id())
        // Tokio alone knows, and says so by a panic.
        && panics::quietly(|| runtime.block_on(async {})).is_ok()
}

/// Tells that it was dropped: polled, or with its runtime.
struct Probe {
    seen: Arc<AtomicBool>,
    waiter: Waker,
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.seen.store(true, Ordering::Release);
        self.waiter.wake_by_ref();
    }
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
        Ok(handle) if is_at_work(&handle) => block_in_place::aside(|| handle.block_on(future)),
        Ok(_) => block_in_place::aside(|| own().block_on(future)),
        Err(_) => own().block_on(future),
    }
}
