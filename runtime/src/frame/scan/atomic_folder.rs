//! [`AtomicFolder`]: a folder of files that gets its name only when it is complete.
//!
//! As with [`AtomicFile`](super::atomic_file::AtomicFile), it is made under a temporary name and locked (`flock`), and a
//! later writer beside it removes the folders of killed writers.
//!
//! Patterns and folders of a query hide files by their own names, not by those of their folders. So the files have
//! temporary names too, until the folder is complete.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::{Builder, TempDir};

use super::atomic_file::{
    MAX_ATTEMPTS, SinkOptions, TEMPORARY_PREFIX, TEMPORARY_SUFFIX, check_local, existing_folder_of, is_temporary,
    leads_to, resolve_links, sync_folder,
};

/// A folder that is being written and becomes `target` on [`commit`](Self::commit). Dropping it removes it.
pub(super) struct AtomicFolder {
    temporary: TempDir,
    /// Holds the lock; `None` on systems where a folder cannot be opened.
    lock: Option<File>,
    target: PathBuf,
}

impl AtomicFolder {
    /// Creates the temporary folder. The target must not exist, or be an empty folder.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        check_local(path)?;
        let target = resolve_links(path)?;
        check_empty(&target)?;
        let parent = existing_folder_of(&target)?;
        remove_stale_folders(parent);
        let (temporary, lock) = create_locked(parent)?;
        Ok(Self { temporary, lock, target })
    }

    /// The temporary folder.
    pub(super) fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// Renames the folder to the target.
    pub(super) fn commit(self, options: SinkOptions) -> io::Result<()> {
        let Self { temporary, lock, target } = self;
        name_files(temporary.path(), options.sync)?;
        check_empty(&target)?;
        // Elsewhere a rename does not replace an empty folder.
        #[cfg(not(unix))]
        let _ = fs::remove_dir(&target);
        fs::rename(temporary.path(), &target)?;
        let _ = temporary.keep();
        // Before the rename, another writer would take the unlocked folder for a stale one.
        drop(lock);
        if options.sync { sync_folder(existing_folder_of(&target)?) } else { Ok(()) }
    }
}

/// Fails if there is a file or a folder with anything in it. Old files beside new ones would be read with them.
fn check_empty(target: &Path) -> io::Result<()> {
    let is_empty = match fs::read_dir(target) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    if is_empty {
        return Ok(());
    }
    let text = "it exists and is no empty folder: remove it, or write to another folder";
    Err(io::Error::new(io::ErrorKind::AlreadyExists, text))
}

/// The name of a file while its folder is not complete.
pub(super) fn temporary_name(name: &str) -> String {
    format!("{TEMPORARY_PREFIX}{name}")
}

/// Gives the files below a folder their names, and syncs it and the folders below it.
fn name_files(folder: &Path, sync: bool) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            name_files(&path, sync)?;
        } else if let Some(name) = path.file_name().and_then(OsStr::to_str)
            && let Some(name) = name.strip_prefix(TEMPORARY_PREFIX)
        {
            fs::rename(&path, path.with_file_name(name))?;
        }
    }
    if sync { sync_folder(folder) } else { Ok(()) }
}

/// Removes the temporary folders of killed writers: those that can be locked.
fn remove_stale_folders(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| is_temporary(path)) {
        if fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir())
            && let Ok(folder) = File::open(&path)
            && folder.try_lock().is_ok()
            && leads_to(&path, &folder)
        {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// Creates a locked temporary folder, with the default permissions of a new folder.
fn create_locked(parent: &Path) -> io::Result<(TempDir, Option<File>)> {
    let mut builder = Builder::new();
    builder.prefix(TEMPORARY_PREFIX).suffix(TEMPORARY_SUFFIX);
    #[cfg(unix)]
    let default_mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o777);
    // The umask of the process applies to it.
    #[cfg(unix)]
    builder.permissions(default_mode);
    for _ in 0..MAX_ATTEMPTS {
        let folder = builder.tempdir_in(parent)?;
        let Ok(lock) = File::open(folder.path()) else { return Ok((folder, None)) };
        // Another writer may have removed the folder before it was locked.
        if !matches!(lock.try_lock(), Err(fs::TryLockError::WouldBlock)) && leads_to(folder.path(), &lock) {
            return Ok((folder, Some(lock)));
        }
    }
    Err(io::Error::other("new folders are removed again and again: find out which program does that"))
}
