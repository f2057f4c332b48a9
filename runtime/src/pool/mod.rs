//! [`Pool`]: where functions run.
//!
//! One type for every kind: a const-built `static`, or the owned result of [`Pool::build`]. Behind it stands a
//! [`Core`]: a queue of jobs, and workers that take from it (`cpu.rs`, `crew.rs`).

mod cpu;
mod crew;
mod queue;
mod seat;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};

use crate::sent::Crossing;
use crate::slot::Slot;
use crate::task::Task;

pub(crate) use queue::Run;
pub(crate) use seat::{cpu_seat, seated_at};

use queue::Queue;

/// What a pool's workers are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Work-stealing threads, one a core.
    Cpu,
    /// Threads that may block; their number grows with demand.
    Io,
    /// Plain threads for DataFrame chunks, one a core, none of them rayon's.
    #[cfg(feature = "polars")]
    Frame,
}

impl Kind {
    fn label(self) -> &'static str {
        match self {
            Kind::Cpu => "cpu",
            Kind::Io => "io",
            #[cfg(feature = "polars")]
            Kind::Frame => "frame",
        }
    }

    /// Threads at most, where the user did not say.
    fn default_threads(self) -> usize {
        match self {
            Kind::Io => 256,
            _ => cores(),
        }
    }
}

/// Cores this process may use; respects affinity and cgroup limits.
pub(crate) fn cores() -> usize {
    static CORES: LazyLock<usize> =
        LazyLock::new(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    *CORES
}

#[derive(Clone, Copy, Debug)]
struct Spec {
    kind: Kind,
    name: &'static str,
    threads: Option<usize>,
}

/// A pool of worker threads.
///
/// The attribute runs functions on [`Pool::cpu_default`] and [`Pool::io_default`]; a pool of your own bounds one
/// kind of work apart from all other, such as the calls to one database.
///
/// # Examples
///
/// ```
/// use fanfold::{Pool, parallel};
///
/// static DATABASE: Pool = Pool::io("db").threads(8); // its threads start when they are needed
///
/// #[parallel(kind = "io", pool = DATABASE)]
/// fn load(id: u32) -> String {
///     format!("row {id} by {}", std::thread::current().name().unwrap_or("?"))
/// }
///
/// assert!(load(7).starts_with("row 7 by fanfold-db-"));
/// ```
pub struct Pool {
    spec: Spec,
    core: OnceLock<Arc<Core>>,
    owned: bool,
}

impl Pool {
    const fn new(kind: Kind, name: &'static str) -> Self {
        Self { spec: Spec { kind, name, threads: None }, core: OnceLock::new(), owned: false }
    }

    /// A pool for computing: work-stealing threads, one a core unless [`threads`](Self::threads) says otherwise.
    #[must_use]
    pub const fn cpu(name: &'static str) -> Self {
        Self::new(Kind::Cpu, name)
    }

    /// A pool for functions that block: threads start as work arrives, up to 256 unless
    /// [`threads`](Self::threads) says otherwise, and end after 10 s without work.
    #[must_use]
    pub const fn io(name: &'static str) -> Self {
        Self::new(Kind::Io, name)
    }

    /// The limit of the number of threads.
    #[must_use]
    pub const fn threads(mut self, threads: usize) -> Self {
        self.spec.threads = Some(threads);
        self
    }

    /// Makes an owned pool: dropping it finishes its work and joins its threads.
    ///
    /// # Errors
    ///
    /// [`BuildError`] if it may have no threads at all, or if the first thread cannot be started.
    ///
    /// # Examples
    ///
    /// ```
    /// use fanfold::Pool;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = Pool::io("scratch").threads(3).build()?;
    /// let task = pool.submit(|| 6 * 7);
    /// assert_eq!(task.join()?, 42);
    /// # Ok(())
    /// # }
    /// ```
    pub fn build(mut self) -> Result<Self, BuildError> {
        let core = Core::start(self.spec)?;
        self.core = OnceLock::from(core);
        self.owned = true;
        Ok(self)
    }

    /// The pool of `kind = "cpu"`: one thread a core.
    #[must_use]
    pub fn cpu_default() -> &'static Self {
        static CPU: Pool = Pool::cpu("cpu");
        &CPU
    }

    /// The pool of `kind = "io"`: up to 256 threads, as many as the work asks for.
    #[must_use]
    pub fn io_default() -> &'static Self {
        static IO: Pool = Pool::io("io");
        &IO
    }

    /// The pool of DataFrame chunks.
    #[cfg(feature = "polars")]
    pub(crate) fn frames() -> &'static Self {
        static FRAMES: Pool = Pool::new(Kind::Frame, "frame");
        &FRAMES
    }

    /// Runs a closure on this pool.
    ///
    /// # Panics
    ///
    /// If this is a static pool whose first use fails: it has `threads(0)`, or no thread can be started.
    pub fn submit<T, F>(&self, work: F) -> Task<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let core = self.core();
        let slot = Slot::new(Arc::clone(core), std::any::type_name::<F>(), work, Crossing::by_bounds());
        core.push(slot.clone());
        Task::new(slot)
    }

    /// The running pool; starts it at first use.
    pub(crate) fn core(&self) -> &Arc<Core> {
        self.core.get_or_init(|| {
            Core::start(self.spec).unwrap_or_else(|error| panic!("cannot start the pool `{}`: {error}", self.spec.name))
        })
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let (true, Some(core)) = (self.owned, self.core.get()) {
            core.finish();
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("kind", &self.spec.kind)
            .field("name", &self.spec.name)
            .field("started", &self.core.get().is_some())
            .finish_non_exhaustive()
    }
}

/// Why a pool could not be made.
#[non_exhaustive]
#[derive(Debug)]
pub enum BuildError {
    /// `threads(0)`: nothing would ever run.
    NoThreads,
    /// The operating system refused a thread.
    Spawn(std::io::Error),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoThreads => f.write_str("a pool of 0 threads would never run anything: give it at least 1"),
            Self::Spawn(cause) => write!(
                f,
                "the operating system refused a worker thread ({cause}): close other threads, or raise its limit"
            ),
        }
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoThreads => None,
            Self::Spawn(cause) => Some(cause),
        }
    }
}

/// A running pool.
pub(crate) struct Core {
    id: u64,
    kind: Kind,
    name: &'static str,
    threads: usize,
    queue: Queue,
}

impl Core {
    fn start(spec: Spec) -> Result<Arc<Self>, BuildError> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let threads = spec.threads.unwrap_or_else(|| spec.kind.default_threads());
        if threads == 0 {
            return Err(BuildError::NoThreads);
        }
        let core = Arc::new(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            kind: spec.kind,
            name: spec.name,
            threads,
            queue: Queue::new(),
        });
        match spec.kind {
            Kind::Cpu => cpu::start(&core)?,
            _ => crew::start(&core)?,
        }
        Ok(core)
    }

    /// Queues a job, and sees to it that a worker comes for it.
    pub(crate) fn push(self: &Arc<Self>, job: Arc<dyn Run>) {
        self.push_copies(job, 1);
    }

    /// Queues one job several times, for as many workers.
    pub(crate) fn push_copies(self: &Arc<Self>, job: Arc<dyn Run>, copies: usize) {
        match self.kind {
            Kind::Cpu => cpu::push(self, job, copies),
            _ => crew::push(self, job, copies),
        }
    }

    /// Whether the current thread is one of this pool's workers, or does this pool's work.
    pub(crate) fn is_current(&self) -> bool {
        let seat = seated_at();
        seat.core == self.id || (seat.cpu_work && self.is_default_cpu())
    }

    /// Whether this is the pool of `kind = "cpu"`, whose callers work along.
    pub(crate) fn is_default_cpu(&self) -> bool {
        Pool::cpu_default().core.get().is_some_and(|core| core.id == self.id)
    }

    /// Whether this is the crew of DataFrame chunks.
    pub(crate) fn is_frames(&self) -> bool {
        #[cfg(feature = "polars")]
        return self.kind == Kind::Frame;
        #[cfg(not(feature = "polars"))]
        false
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// `fanfold-io-3`; a pool's own name stands in the middle.
    fn thread_name(&self, index: usize) -> String {
        format!("fanfold-{}-{index}", self.name)
    }

    /// Takes no more work, waits until what is queued has run, and joins the threads.
    fn finish(&self) {
        match self.kind {
            Kind::Cpu => cpu::finish(self),
            _ => crew::finish(self),
        }
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pool `{}`", self.kind.label(), self.name)
    }
}
