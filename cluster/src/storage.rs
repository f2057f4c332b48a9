//! [`Storage`]: the folder or bucket that all machines see, for data that does not fit a plan.
//!
//! A driver's connection has a folder of its own, with an object `lease` that the driver writes again and again. It
//! deletes the folder at its end. A driver that is killed does not, so every executor that has run its chunks watches
//! the lease ([`watched`]), and deletes the folder once the lease stays unchanged: executors need no clock in common
//! with the driver or the store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
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

    fn failed(&self, what: &str, name: &str, error: &dyn std::fmt::Display) -> ClusterError {
        let address = self.address();
        ClusterError::new(format!(
            "cannot {what} `{name}` in the storage `{address}`: {error}: all machines must see the same storage, \
             and may write to it"
        ))
    }
}

/// A folder whose lease this executor watches.
struct Watched {
    folder: Storage,
    /// The last seen contents of the lease, and since when.
    seen: (Vec<u8>, Instant),
}

/// The folders whose leases this executor watches, by their addresses.
static WATCHED: Mutex<Option<HashMap<String, Watched>>> = Mutex::new(None);

/// The folder of a driver's connection. Its lease is watched from now on, and it is deleted after the driver's death.
pub(crate) fn watched(address: &str) -> Result<Storage, ClusterError> {
    let known = |all: &Option<HashMap<String, Watched>>| Some(all.as_ref()?.get(address)?.folder.clone());
    if let Some(folder) = known(&WATCHED.lock().unwrap_or_else(PoisonError::into_inner)) {
        return Ok(folder);
    }
    // It takes some milliseconds to open a bucket, which no other chunk has to wait for.
    let folder = Storage::open(address)?;
    let mut all = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    let new = Watched { folder, seen: (Vec::new(), Instant::now()) };
    Ok(all.get_or_insert_default().entry(address.to_owned()).or_insert(new).folder.clone())
}

/// Looks at all watched leases, for as long as the executor runs.
pub(crate) async fn watch_leases() {
    loop {
        tokio::time::sleep(LEASE_INTERVAL).await;
        let folders: Vec<(String, Storage)> = {
            let watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
            watched.iter().flatten().map(|(address, watched)| (address.clone(), watched.folder.clone())).collect()
        };
        for (address, folder) in folders {
            let is_dead = match folder.read(LEASE).await {
                Ok(lease) => has_stalled(&address, lease),
                // The driver has ended in order, or never wrote it.
                Err(_) => has_stalled(&address, Vec::new()),
            };
            if is_dead {
                log::info!("the driver of `{address}` is gone: its data is deleted");
                folder.delete_all().await;
                let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
                let removed = watched.get_or_insert_default().remove(&address);
                drop(watched);
                drop(removed);
            }
        }
    }
}

/// Notes what the lease holds. Returns whether it has not changed for too long.
fn has_stalled(address: &str, lease: Vec<u8>) -> bool {
    let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(Watched { seen, .. }) = watched.get_or_insert_default().get_mut(address) else { return false };
    if seen.0 != lease {
        *seen = (lease, Instant::now());
    }
    seen.1.elapsed() >= LEASE_LIMIT
}
