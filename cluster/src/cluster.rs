//! [`Cluster`]: a connection to a cluster, on which functions, chunks and scans run.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fanfold::Place;
use fanfold::backend::{self, BackendId};

use crate::dispatch::Connection;
use crate::job::Scheduler;
use crate::storage::Storage;
use crate::{ClusterError, readiness};

/// The environment variable with the storage that all machines see.
const STORAGE_VARIABLE: &str = "FANFOLD_CLUSTER_STORAGE";
/// The scheme of addresses.
const SCHEME: &str = "df://";
/// The default port of schedulers.
pub(crate) const DEFAULT_PORT: u16 = 50050;

/// A connection to a cluster.
///
/// It is a [`Place`]: maps, the chunks of frames, and scans of Parquet files run on it by `.on(&cluster)`. Clones share
/// the connection. The last clone that is dropped deletes the connection's data in the storage.
///
/// # Examples
///
/// ```no_run
/// use fanfold::parallel;
/// use fanfold_cluster::Cluster;
///
/// #[parallel(kind = "cluster")]
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// # fn main() -> Result<(), fanfold_cluster::ClusterError> {
/// fanfold_cluster::init(); // first in `main`
/// let cluster = Cluster::connect("df://127.0.0.1:50050")?;
/// let squares: Vec<u64> = square::map(0..1_000).on(&cluster).collect();
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    address: String,
    connection: Arc<Connection>,
    backend: BackendId,
}

impl Drop for Inner {
    fn drop(&mut self) {
        backend::unregister(self.backend);
        self.connection.close();
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("address", &self.inner.address).finish_non_exhaustive()
    }
}

impl Cluster {
    /// Connects to the scheduler at an address such as `df://host:50050`, with the default [`ClusterOptions`].
    ///
    /// # Errors
    ///
    /// As [`ClusterOptions::connect`].
    pub fn connect(address: &str) -> Result<Self, ClusterError> {
        ClusterOptions::new().connect(address)
    }

    /// Options for a connection.
    pub fn options() -> ClusterOptions {
        ClusterOptions::new()
    }

    /// The address of the scheduler.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.inner.address
    }

    pub(crate) fn backend(&self) -> BackendId {
        self.inner.backend
    }

    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.inner.connection
    }
}

/// Options for a [`Cluster`].
///
/// # Examples
///
/// ```no_run
/// use fanfold_cluster::Cluster;
///
/// # fn main() -> Result<(), fanfold_cluster::ClusterError> {
/// let cluster = Cluster::options().storage("/shared/scratch").attempts(5).connect("df://scheduler:50050")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing before `connect`"]
pub struct ClusterOptions {
    storage: Option<String>,
    attempts: u32,
    wait: Duration,
}

impl ClusterOptions {
    pub(crate) fn new() -> Self {
        Self { storage: None, attempts: 3, wait: Duration::from_secs(30) }
    }

    /// Sets the storage for arguments and results that do not fit a plan (about 8 MiB): a folder that all machines see
    /// under the same path, or with the feature `s3` an address such as `s3://bucket/folder`.
    ///
    /// The default is `FANFOLD_CLUSTER_STORAGE`; else, for a scheduler on this machine, the folder for temporary files;
    /// else there is none, and larger data is an error that says so. An empty text means none.
    pub fn storage(mut self, address: impl Into<String>) -> Self {
        self.storage = Some(address.into());
        self
    }

    /// Sets how often a chunk is tried in all if its worker process dies, and a job if its executors are lost; the
    /// default is 3. Errors and panics of a function are not retried: that is its option `retries`.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Sets how long to wait until an executor is there; the default is 30 s.
    pub fn wait_for_executors(mut self, limit: Duration) -> Self {
        self.wait = limit;
        self
    }

    /// Connects to the scheduler at an address such as `df://host:50050`.
    ///
    /// # Errors
    ///
    /// [`ClusterError`] if the address is none, if no scheduler answers there, if no executor is there in time, or if
    /// the storage cannot be used.
    pub fn connect(self, address: &str) -> Result<Cluster, ClusterError> {
        let (host, port) = parse_address(address)?;
        let deadline = Instant::now() + self.wait;
        loop {
            let executors = readiness::executors(&host, port).map_err(|error| {
                ClusterError::new(format!(
                    "no scheduler answers at `{address}`: {error}: start one there by `PROGRAM cluster scheduler`"
                ))
            })?;
            if executors > 0 {
                break;
            }
            if Instant::now() >= deadline {
                return Err(ClusterError::new(format!(
                    "the scheduler at `{address}` has no executors after {:?}: start some by `PROGRAM cluster executor \
                     --scheduler {address}`",
                    self.wait
                )));
            }
            std::thread::sleep(readiness::POLL_INTERVAL);
        }
        let storage = match self.storage {
            Some(address) => Some(address).filter(|address| !address.is_empty()),
            None => default_storage(&host),
        };
        let storage = storage.map(|storage| Storage::open(&storage)).transpose()?;
        let scheduler = Scheduler { host, port, address: address.to_owned(), session: crate::random_name() };
        let connection = Connection::open(scheduler, storage.as_ref(), self.attempts)?;
        let backend = backend::register(Arc::clone(&connection) as Arc<dyn backend::Backend>);
        Ok(Cluster { inner: Arc::new(Inner { address: address.to_owned(), connection, backend }) })
    }
}

/// The storage that the environment names, or the folder for temporary files for a cluster of this machine.
fn default_storage(host: &str) -> Option<String> {
    let named = std::env::var(STORAGE_VARIABLE).ok().filter(|value| !value.is_empty());
    named.or_else(|| {
        let folder = std::env::temp_dir().join("fanfold-cluster");
        is_this_machine(host).then(|| folder.to_string_lossy().into_owned())
    })
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The host and the port of an address such as `df://host:50050`.
pub(crate) fn parse_address(address: &str) -> Result<(String, u16), ClusterError> {
    let wrong =
        || ClusterError::new(format!("`{address}` is no address of a scheduler: write `df://host:{DEFAULT_PORT}`"));
    let rest = address.strip_prefix(SCHEME).ok_or_else(wrong)?.trim_end_matches('/');
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') => (host, port.parse().map_err(|_| wrong())?),
        _ => (rest, DEFAULT_PORT),
    };
    if host.is_empty() || host.contains('/') { Err(wrong()) } else { Ok((host.to_owned(), port)) }
}

/// Connects functions of `kind = "cluster"` to the cluster that `FANFOLD_CLUSTER` names, for as long as the program
/// runs.
pub(crate) fn connect_environment(address: &str) -> Result<BackendId, String> {
    static KEPT: Mutex<Vec<Cluster>> = Mutex::new(Vec::new());
    let cluster = Cluster::connect(address).map_err(|error| error.to_string())?;
    let backend = cluster.backend();
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).push(cluster);
    Ok(backend)
}

impl<S, F, A> Place<fanfold::Map<S, F, A>> for Cluster
where
    S: backend::Source<Item = A>,
    F: backend::MapFn<A>,
{
    type Placed = fanfold::Map<S, F, A>;

    #[track_caller]
    fn place(&self, map: fanfold::Map<S, F, A>) -> fanfold::Map<S, F, A> {
        map.on_backend(self.backend())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_host_and_a_port() {
        assert_eq!(parse_address("df://host:1").unwrap(), ("host".into(), 1));
        assert_eq!(parse_address("df://10.0.0.2").unwrap(), ("10.0.0.2".into(), DEFAULT_PORT));
        assert_eq!(parse_address("df://[::1]:7/").unwrap(), ("[::1]".into(), 7));
        for wrong in ["host:1", "http://host:1", "df://", "df://host:x", "df://host:70000", "df://a/b"] {
            assert!(parse_address(wrong).unwrap_err().to_string().contains(wrong), "{wrong}");
        }
    }
}
