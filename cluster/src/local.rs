//! [`LocalCluster`]: a scheduler and executors on this machine, started by the running program.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fanfold::Place;

use crate::{Cluster, ClusterError, readiness, scheduler_command};

/// The time limit for all parts to be ready.
const START_LIMIT: Duration = Duration::from_mins(1);

/// A scheduler and executors on this machine, for laptops and tests. They are this program, started again, and end with
/// it, however it ends.
///
/// It is a [`Place`], as [`Cluster`] is.
///
/// # Examples
///
/// ```no_run
/// use fanfold_cluster::LocalCluster;
///
/// #[fanfold::parallel(kind = "cluster")]
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// fn main() -> Result<(), fanfold_cluster::ClusterError> {
///     fanfold_cluster::init();
///     let cluster = LocalCluster::start(2)?;
///     let squares: Vec<u64> = square::map(0..100).on(&cluster).collect();
///     assert_eq!(squares[99], 9801);
///     Ok(())
/// }
/// ```
pub struct LocalCluster {
    // Dropped in this order: the connection deletes its data while the executors live.
    cluster: Cluster,
    parts: Parts,
}

/// The processes, which are killed at the end.
struct Parts {
    scheduler: Part,
    executors: Vec<Part>,
    port: u16,
    slots: usize,
    folder: tempfile::TempDir,
}

/// A process of the cluster.
struct Part(Child);

impl Drop for Part {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl fmt::Debug for LocalCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalCluster")
            .field("cluster", &self.cluster)
            .field("executors", &self.parts.executors.len())
            .finish_non_exhaustive()
    }
}

impl LocalCluster {
    /// Starts a scheduler and this many executors, which share the cores. It returns when all are ready.
    ///
    /// # Errors
    ///
    /// [`ClusterError`] if a process cannot be started or is not ready within 60 s, and if [`init`](crate::init) was
    /// not called first in `main`.
    pub fn start(executors: usize) -> Result<Self, ClusterError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::start_with_slots(executors, (cores / executors.max(1)).max(1))
    }

    /// As [`start`](Self::start), with executors that run this many calls at once.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_with_slots(executors: usize, slots: usize) -> Result<Self, ClusterError> {
        if executors == 0 || slots == 0 {
            return Err(ClusterError::new("a cluster needs at least one executor with one slot"));
        }
        if !crate::is_initialised() {
            return Err(ClusterError::new(
                "this program cannot start itself as a part of a cluster: call `fanfold_cluster::init()` first in \
                 `main`; in a test, `fanfold_cluster::cluster_tests!();` at the top of the file",
            ));
        }
        let failed =
            |error: std::io::Error| ClusterError::new(format!("a local cluster cannot have a folder: {error}"));
        let folder = tempfile::Builder::new().prefix("fanfold-local-").tempdir().map_err(failed)?;
        let (scheduler, port) = start_scheduler(folder.path())?;
        let mut parts = Parts { scheduler, executors: Vec::new(), port, slots, folder };
        for _ in 0..executors {
            parts.start_executor()?;
        }
        parts.wait_for(executors)?;
        let storage = parts.folder.path().join("storage");
        let cluster = Cluster::options().storage(storage.to_string_lossy());
        let cluster = cluster.connect(&format!("df://127.0.0.1:{port}"))?;
        Ok(Self { cluster, parts })
    }

    /// The connection to it.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Starts one more executor, and waits until it is ready. Jobs that run use it at once.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn add_executor(&mut self) -> Result<(), ClusterError> {
        let ready = readiness::executors("127.0.0.1", self.parts.port).unwrap_or(0);
        self.parts.start_executor()?;
        self.parts.wait_for(ready + 1)
    }

    /// The process ids of the executors, in the order of their start.
    #[must_use]
    pub fn executor_ids(&self) -> Vec<u32> {
        self.parts.executors.iter().map(|part| part.0.id()).collect()
    }

    /// The process id of the scheduler.
    #[must_use]
    pub fn scheduler_id(&self) -> u32 {
        self.parts.scheduler.0.id()
    }
}

impl<W> Place<W> for LocalCluster
where
    Cluster: Place<W>,
{
    type Placed = <Cluster as Place<W>>::Placed;

    #[track_caller]
    fn place(&self, work: W) -> Self::Placed {
        self.cluster.place(work)
    }
}

impl Parts {
    fn start_executor(&mut self) -> Result<(), ClusterError> {
        let mut command = part("executor", self.folder.path())?;
        command.arg("--scheduler").arg(format!("df://127.0.0.1:{}", self.port));
        command.arg("--slots").arg(self.slots.to_string());
        // Killed executors delete nothing, so their folders are in the cluster's own.
        let work = self.folder.path().join(format!("executor-{}", self.executors.len()));
        command.arg("--work-dir").arg(work);
        // A part of a cluster uses no other cluster.
        command.env_remove("FANFOLD_CLUSTER");
        let child = command.spawn().map_err(|error| not_started("executor", &error))?;
        self.executors.push(Part(child));
        Ok(())
    }

    /// Waits until this many executors are ready.
    fn wait_for(&mut self, executors: usize) -> Result<(), ClusterError> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let ready = readiness::executors("127.0.0.1", self.port);
            if ready.as_ref().is_ok_and(|ready| *ready >= executors) {
                return Ok(());
            }
            if let Some(executor) = self.executors.last_mut()
                && let Ok(Some(status)) = executor.0.try_wait()
            {
                return Err(not_started("executor", &format!("it ended with {status}")));
            }
            if Instant::now() >= deadline {
                let ready = ready.unwrap_or(0);
                return Err(not_started(
                    "executor",
                    &format!("{ready} of {executors} are ready after {START_LIMIT:?}"),
                ));
            }
            std::thread::sleep(readiness::POLL_INTERVAL);
        }
    }
}

fn not_started(part: &str, why: &dyn fmt::Display) -> ClusterError {
    ClusterError::new(format!("the {part} of a local cluster could not be started: {why}"))
}

/// The command of a part, which ends when this process does.
fn part(name: &str, folder: &Path) -> Result<Command, ClusterError> {
    let program = std::env::current_exe().map_err(|error| not_started(name, &error))?;
    let mut command = Command::new(program);
    command.args(["cluster", name, "--port", "0", "--parent-folder"]).arg(folder);
    command.stdin(Stdio::piped());
    Ok(command)
}

/// Starts the scheduler at a free port.
fn start_scheduler(folder: &Path) -> Result<(Part, u16), ClusterError> {
    let failed = |why: &dyn fmt::Display| not_started("scheduler", why);
    let mut command = part("scheduler", folder)?;
    let mut child = Part(command.stdout(Stdio::piped()).spawn().map_err(|error| failed(&error))?);
    let output = child.0.stdout.take().ok_or_else(|| failed(&"it has no output"))?;
    for line in BufReader::new(output).lines() {
        let line = line.map_err(|error| failed(&error))?;
        if let Some(port) = line.strip_prefix(scheduler_command::PORT_LINE) {
            return Ok((child, port.parse().map_err(|error| failed(&error))?));
        }
    }
    Err(failed(&"it ended at once"))
}
