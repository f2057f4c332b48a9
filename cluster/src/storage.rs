//! [`Storage`]: the folder or bucket that all machines see, for data that does not fit a plan.
//!
//! A driver's connection has a folder of its own, with an object `lease` that the driver writes again and again. It
//! deletes the folder at its end. A driver that is killed does not, so every executor that has run its chunks watches
//! the lease ([`driver_folder`]), and deletes the folder once the lease stays unchanged: executors need no clock in
//! common with the driver or the store. They watch the other folders in the same place as well, which the executors of
//! a driver have left if they ended before it. The calls of a dead driver are cancelled, and those that come later are
//! refused.

use std::collections::HashMap;
use std::mem::replace;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use url::Url;

use crate::ClusterError;

/// The interval at which a driver writes its lease.
pub(crate) const LEASE_INTERVAL: Duration = Duration::from_secs(2);
/// The time after which an unchanged lease is that of a dead driver.
const LEASE_LIMIT: Duration = Duration::from_secs(20);
/// The time for which calls of a dead driver are refused, which its jobs may still have in the scheduler's queue.
const DEAD_LIMIT: Duration = Duration::from_mins(5);
/// The name of the lease in a folder.
const LEASE: &str = "lease";
/// The beginning of the names of folders, so that nothing else is ever deleted.
const PREFIX: &str = "fanfold-";

/// A folder in a store.
#[derive(Clone)]
pub(crate) struct Storage {
    store: Arc<dyn ObjectStore>,
    base: Path,
    url: Url,
}

impl Storage {
    /// Opens a path of this machine, or an address such as `s3://bucket/folder`.
    pub(crate) fn open(address: &str) -> Result<Self, ClusterError> {
        let failed = |why: &dyn std::fmt::Display| {
            ClusterError::new(format!(
                "storage `{address}` cannot be used: {why}: give a folder that all machines see, or \
                 `s3://bucket/folder` with the feature `s3`"
            ))
        };
        let url = if address.contains("://") {
            Url::parse(address).map_err(|error| failed(&error))?
        } else {
            let path = std::path::absolute(address).map_err(|error| failed(&error))?;
            std::fs::create_dir_all(&path).map_err(|error| failed(&error))?;
            Url::from_directory_path(&path).map_err(|()| failed(&"it is no absolute path"))?
        };
        // Credentials and the endpoint of a bucket are in the usual variables, such as `AWS_ACCESS_KEY_ID`.
        let options = std::env::vars().map(|(name, value)| (name.to_ascii_lowercase(), value));
        let options = options.filter(|(name, _)| name.starts_with("aws_"));
        let (store, base) = object_store::parse_url_opts(&url, options).map_err(|error| failed(&error))?;
        Ok(Self { store: store.into(), base, url })
    }

    /// The folder of this name in this one.
    pub(crate) fn folder(&self, name: &str) -> Result<Self, ClusterError> {
        let address = format!("{}/{name}/", self.url.as_str().trim_end_matches('/'));
        let url = Url::parse(&address).map_err(|error| ClusterError::new(format!("`{address}`: {error}")))?;
        Ok(Self { store: Arc::clone(&self.store), base: self.base.clone().join(name), url })
    }

    /// A new folder for a driver's connection.
    pub(crate) fn new_folder(&self) -> Result<Self, ClusterError> {
        self.folder(&format!("{PREFIX}{}", crate::random_name()))
    }

    pub(crate) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    pub(crate) fn address(&self) -> &str {
        self.url.as_str()
    }

    pub(crate) async fn write(&self, name: &str, bytes: Vec<u8>) -> Result<(), ClusterError> {
        let written = self.store.put(&self.base.clone().join(name), bytes.into()).await;
        written.map(drop).map_err(|error| self.failed("write", name, &error))
    }

    pub(crate) async fn read(&self, name: &str) -> Result<Vec<u8>, ClusterError> {
        let path = self.base.clone().join(name);
        let read = async { self.store.get(&path).await?.bytes().await };
        let read = read.await.map_err(|error| match error {
            object_store::Error::NotFound { .. } => ClusterError::new(format!(
                "the storage `{}` has no `{name}`: all machines must see the same storage, and a program that does not \
                 run for {LEASE_LIMIT:?}, as it is suspended, loses its data there",
                self.address()
            )),
            error => self.failed("read", name, &error),
        });
        Ok(read?.into())
    }

    pub(crate) async fn delete(&self, name: &str) {
        // What is left goes with the folder.
        let _ = self.store.delete(&self.base.clone().join(name)).await;
    }

    pub(crate) async fn write_lease(&self, count: u64) -> Result<(), ClusterError> {
        self.write(LEASE, count.to_string().into_bytes()).await
    }

    /// What the lease holds: nothing if there is none, and `None` if the storage does not answer.
    async fn lease(&self) -> Option<Vec<u8>> {
        let path = self.base.clone().join(LEASE);
        match async { self.store.get(&path).await?.bytes().await }.await {
            Ok(lease) => Some(lease.into()),
            Err(object_store::Error::NotFound { .. }) => Some(Vec::new()),
            Err(_) => None,
        }
    }

    /// Deletes the folder of a connection with all that it holds.
    pub(crate) async fn delete_all(&self) {
        let is_ours = self.base.parts().next_back().is_some_and(|name| name.as_ref().starts_with(PREFIX));
        if !is_ours {
            return;
        }
        let mut objects = self.store.list(Some(&self.base));
        while let Ok(Some(object)) = objects.try_next().await {
            let _ = self.store.delete(&object.location).await;
        }
        // A local store keeps empty folders.
        if let Ok(path) = self.url.to_file_path() {
            let _ = tokio::fs::remove_dir_all(path).await;
        }
    }

    /// The folders of drivers in the same place.
    async fn siblings(&self) -> Vec<Self> {
        let mut parts: Vec<_> = self.base.parts().collect();
        parts.pop();
        let place: Path = parts.into_iter().collect();
        let Ok(found) = self.store.list_with_delimiter(Some(&place)).await else { return Vec::new() };
        let url = self.address().trim_end_matches('/');
        let Some((url, _)) = url.rsplit_once('/') else { return Vec::new() };
        let folder = |base: Path| {
            let name = base.parts().next_back()?.as_ref().to_owned();
            let url = Url::parse(&format!("{url}/{name}/")).ok()?;
            name.starts_with(PREFIX).then(|| Self { store: Arc::clone(&self.store), base, url })
        };
        found.common_prefixes.into_iter().filter_map(folder).collect()
    }

    fn failed(&self, what: &str, name: &str, error: &dyn std::fmt::Display) -> ClusterError {
        let address = self.address();
        ClusterError::new(format!(
            "cannot {what} `{name}` in the storage `{address}`: {error}: all machines must see the same storage, \
             and may write to it"
        ))
    }
}

/// The folder of a driver's connection, on an executor.
#[derive(Clone)]
pub(crate) struct DriverFolder {
    folder: Storage,
    is_dead: Arc<AtomicBool>,
}

impl DriverFolder {
    /// Whether the driver has not renewed its lease for [`LEASE_LIMIT`], or has ended.
    pub(crate) fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::Relaxed)
    }

    pub(crate) async fn read(&self, name: &str) -> Result<Vec<u8>, ClusterError> {
        self.folder.read(name).await
    }

    pub(crate) async fn write(&self, name: &str, bytes: Vec<u8>) -> Result<(), ClusterError> {
        self.check()?;
        let written = self.folder.write(name, bytes).await;
        if self.is_dead() {
            // The write may have made the folder again.
            self.folder.delete_all().await;
        }
        written
    }

    fn check(&self) -> Result<(), ClusterError> {
        if !self.is_dead() {
            return Ok(());
        }
        Err(ClusterError::new(format!(
            "the program of this call has ended, or was suspended: it has not renewed its lease in `{}` for \
             {LEASE_LIMIT:?}, so its data there was deleted: run it again",
            self.folder.address()
        )))
    }
}

/// What an executor knows of a driver's folder.
struct Watched {
    folder: DriverFolder,
    /// The last seen contents of the lease, and since when; or since when the driver is dead.
    seen: (Vec<u8>, Instant),
    /// Whether the folders beside it are watched as well.
    has_siblings: bool,
}

impl Watched {
    fn new(folder: Storage, has_siblings: bool) -> Self {
        let folder = DriverFolder { folder, is_dead: Arc::default() };
        Self { folder, seen: (Vec::new(), Instant::now()), has_siblings }
    }

    /// Notes what the lease holds now. Returns whether the driver is dead from now on, as it has not changed for too
    /// long. A driver that was suspended lives again when it writes its lease.
    fn see(&mut self, lease: Option<Vec<u8>>) -> bool {
        let (was_dead, now) = (self.folder.is_dead(), Instant::now());
        match lease {
            Some(lease) if lease == self.seen.0 => {}
            // The lease of a dead driver is deleted with its data.
            Some(lease) if was_dead && lease.is_empty() => {}
            Some(lease) => {
                self.seen = (lease, now);
                self.folder.is_dead.store(false, Ordering::Relaxed);
            }
            // That says nothing of the driver.
            None if was_dead => {}
            None => self.seen.1 = now,
        }
        let has_died = !was_dead && self.seen.1.elapsed() >= LEASE_LIMIT;
        if has_died {
            self.seen.1 = now;
            self.folder.is_dead.store(true, Ordering::Relaxed);
        }
        has_died
    }
}

/// The folders whose leases this executor watches, by their addresses, and for [`DEAD_LIMIT`] those of dead drivers.
static WATCHED: LazyLock<Mutex<HashMap<String, Watched>>> = LazyLock::new(Mutex::default);

fn all_watched() -> MutexGuard<'static, HashMap<String, Watched>> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The folder of a driver's connection. Its lease is watched from now on, and it is deleted after the driver's death.
///
/// # Errors
///
/// If the storage cannot be used, or the driver is dead.
pub(crate) fn driver_folder(address: &str) -> Result<DriverFolder, ClusterError> {
    let known = all_watched().get(address).map(|watched| watched.folder.clone());
    let folder = match known {
        Some(folder) => folder,
        None => {
            // It takes some milliseconds to open a bucket, which no other chunk has to wait for.
            let new = Watched::new(Storage::open(address)?, false);
            all_watched().entry(address.to_owned()).or_insert(new).folder.clone()
        }
    };
    folder.check()?;
    Ok(folder)
}

/// Looks at all watched leases, for as long as the executor runs.
pub(crate) async fn watch_leases() {
    loop {
        tokio::time::sleep(LEASE_INTERVAL).await;
        let folders: Vec<(String, Storage, bool)> = {
            let mut all = all_watched();
            all.retain(|_, watched| !watched.folder.is_dead() || watched.seen.1.elapsed() < DEAD_LIMIT);
            let watched = all.iter_mut();
            watched
                .map(|(address, watched)| {
                    (address.clone(), watched.folder.folder.clone(), replace(&mut watched.has_siblings, true))
                })
                .collect()
        };
        for (address, folder, has_siblings) in folders {
            if !has_siblings {
                watch_siblings(&folder).await;
            }
            let lease = folder.lease().await;
            let has_died = all_watched().get_mut(&address).is_some_and(|watched| watched.see(lease));
            if has_died {
                log::info!("the driver of `{address}` is gone: its data is deleted, and its calls are cancelled");
                folder.delete_all().await;
            }
        }
    }
}

/// Watches the folders of drivers beside this one as well.
async fn watch_siblings(folder: &Storage) {
    for sibling in folder.siblings().await {
        all_watched().entry(sibling.address().to_owned()).or_insert_with(|| Watched::new(sibling, true));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A driver whose lease was last seen to change so long ago.
    fn seen_before(folder: &tempfile::TempDir, time: Duration) -> Watched {
        let folder = Storage::open(folder.path().to_str().expect("UTF-8")).expect("a folder");
        let mut watched = Watched::new(folder, true);
        watched.seen = (vec![1], Instant::now().checked_sub(time).expect("the machine runs for longer"));
        watched
    }

    #[test]
    fn a_driver_is_dead_if_its_lease_stalls_and_lives_when_it_goes_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut watched = seen_before(&folder, LEASE_LIMIT);
        assert!(watched.see(Some(vec![1])) && watched.folder.is_dead());
        // It dies once, and an ended one stays dead.
        assert!(!watched.see(Some(vec![1])) && watched.folder.is_dead());
        assert!(!watched.see(Some(Vec::new())) && watched.folder.is_dead());
        assert!(watched.folder.check().expect_err("it is dead").to_string().contains("run it again"));
        // It was suspended.
        assert!(!watched.see(Some(vec![2])) && !watched.folder.is_dead());
        assert!(watched.folder.check().is_ok());
    }

    #[test]
    fn a_storage_that_does_not_answer_kills_no_driver() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut watched = seen_before(&folder, LEASE_LIMIT);
        assert!(!watched.see(None) && !watched.folder.is_dead());
        // The time begins again.
        assert!(!watched.see(Some(vec![1])) && !watched.folder.is_dead());
    }
}
