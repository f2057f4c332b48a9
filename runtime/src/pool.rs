//! [`Pool`]: where functions run.
//!
//! One type for every kind: a const-built `static`, or the owned result of [`Pool::build`]. The threads and their
//! queue are behind it, in `workers/`.

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::sent::Crossing;
use crate::slot::{Slot, Terms};
use crate::task::Task;
use crate::workers::{Core, Hooks, Kind, Spec};

pub use crate::workers::BuildError;

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
        Self {
            spec: Spec { kind, name, threads: None, default: false, hooks: Hooks { start: None, stop: None } },
            core: OnceLock::new(),
            owned: false,
        }
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

    const fn default(mut self) -> Self {
        self.spec.default = true;
        self
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
        static CPU: Pool = Pool::cpu("cpu").default();
        &CPU
    }

    /// The pool of `kind = "io"`: up to 256 threads, as many as the work asks for.
    #[must_use]
    pub fn io_default() -> &'static Self {
        static IO: Pool = Pool::io("io").default();
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
        let slot =
            Slot::new(Arc::clone(core), std::any::type_name::<F>(), Terms::default(), work, Crossing::by_bounds());
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
