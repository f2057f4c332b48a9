//! [`AtomicFile`]: replaces a file atomically: the new contents get the file's name only when they are complete.
//!
//! They are written to a temporary file in the same folder, which its writer holds locked (`flock`). A lock ends with
//! its process, so a later writer into the folder can lock the temporary file of a killed one, and removes it.
//!
//! Creating a file and locking it are two steps, and another writer may remove the file in between. So after it has
//! locked the file its writer checks that the path still leads to it, and otherwise creates another one.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile, TempPath};

/// The prefix and suffix of temporary names.
pub(super) const TEMPORARY_PREFIX: &str = ".fanfold-";
pub(super) const TEMPORARY_SUFFIX: &str = ".tmp";

/// A file that is being written and replaces `target` on [`commit`](Self::commit). Dropping it removes it.
pub(super) struct AtomicFile {
    /// The temporary file; `None` for a device or pipe, which is written to directly.
    temporary: Option<TempPath>,
    target: PathBuf,
    options: SinkOptions,
}

/// How an output file is put in place.
#[derive(Clone, Copy)]
pub(super) struct SinkOptions {
    /// Whether the file is synced to the disk before it is renamed, and its folder afterwards.
    pub(super) sync: bool,
    /// Whether it may replace an existing file.
    pub(super) overwrite: bool,
}

/// The size of the write buffer in bytes.
const BUFFER_BYTES: usize = 1 << 20;
/// How many new files in a row other writers may remove before they are locked, until creation fails.
pub(super) const MAX_ATTEMPTS: usize = 100;

impl AtomicFile {
    /// Creates the temporary file.
    pub(super) fn create(path: &Path, options: SinkOptions) -> io::Result<(Self, BufWriter<File>)> {
        check_local(path)?;
        // A symbolic link is kept: the file that it leads to is created or replaced.
        let target = resolve_links(path)?;
        let existing = fs::metadata(&target).ok();
        if existing.as_ref().is_some_and(|existing| !existing.is_file() && !existing.is_dir()) {
            let device = File::options().write(true).open(&target)?;
            return Ok((Self { temporary: None, target, options }, BufWriter::with_capacity(BUFFER_BYTES, device)));
        }
        if existing.as_ref().is_some_and(Metadata::is_dir) {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory: give a file's name"));
        }
        let folder = existing_folder_of(&target)?;
        if existing.is_some() {
            if !options.overwrite {
                return Err(exists_error());
            }
            // A rename needs permission for the folder only, and would replace a file that is read-only.
            File::options().write(true).open(&target).map_err(|error| not_writable_error(&error))?;
        }
        remove_stale_files(folder);
        let file = create_locked(folder, existing.as_ref())?;
        let (file, temporary) = file.into_parts();
        Ok((Self { temporary: Some(temporary), target, options }, BufWriter::with_capacity(BUFFER_BYTES, file)))
    }

    /// Flushes `writer`, and renames the temporary file to the target.
    pub(super) fn commit(self, mut writer: BufWriter<File>) -> io::Result<()> {
        writer.flush()?;
        let Some(temporary) = self.temporary else { return Ok(()) };
        let SinkOptions { sync, overwrite } = self.options;
        if sync {
            writer.get_ref().sync_all()?;
        }
        if overwrite {
            temporary.persist(&self.target).map_err(|refused| refused.error)?;
        } else {
            // Another program may have made the file meanwhile.
            temporary.persist_noclobber(&self.target).map_err(|refused| match refused.error.kind() {
                io::ErrorKind::AlreadyExists => exists_error(),
                _ => refused.error,
            })?;
        }
        // Releases the lock. Before the rename, another writer would take the unlocked file for a stale one.
        drop(writer);
        if sync { sync_folder(folder_of(&self.target)) } else { Ok(()) }
    }
}

/// Fails for an address, such as one in the cloud.
pub(super) fn check_local(path: &Path) -> io::Result<()> {
    if path.to_str().is_some_and(|path| path.contains("://")) {
        let text = "only local files can be written, and this is an address: write a local file and upload it";
        return Err(io::Error::new(io::ErrorKind::Unsupported, text));
    }
    Ok(())
}

/// The folder that a file is in; fails if it is not there.
pub(super) fn existing_folder_of(target: &Path) -> io::Result<&Path> {
    let folder = folder_of(target);
    if !folder.is_dir() {
        let text = format!("the folder `{}` is not there: make it first", folder.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, text));
    }
    Ok(folder)
}

fn exists_error() -> io::Error {
    let text = "it exists, and may not be overwritten: remove it, or write to another file";
    io::Error::new(io::ErrorKind::AlreadyExists, text)
}

fn not_writable_error(error: &io::Error) -> io::Error {
    let text = format!(
        "the file that is there may not be written to ({error}): make it writable, remove it, or write to another file"
    );
    io::Error::new(error.kind(), text)
}

/// The number of symbolic links that are followed in a row: the limit of Linux.
const MAX_LINKS: usize = 40;

/// The path behind all symbolic links. The last link may lead to a file that does not exist yet.
pub(super) fn resolve_links(path: &Path) -> io::Result<PathBuf> {
    let mut target = path.to_owned();
    for _ in 0..MAX_LINKS {
        if let Ok(found) = fs::canonicalize(&target) {
            return Ok(found);
        }
        let Ok(next) = fs::read_link(&target) else { return Ok(target) };
        target = folder_of(&target).join(next);
    }
    fs::canonicalize(path)
}

pub(super) fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether this is the name of a temporary file of a sink.
pub(super) fn is_temporary(path: &Path) -> bool {
    path.file_name()
        .and_then(OsStr::to_str)
        .is_some_and(|name| name.starts_with(TEMPORARY_PREFIX) && name.ends_with(TEMPORARY_SUFFIX))
}

/// Syncs a folder, so that the rename is on the disk. Systems without a sync for folders need none.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    // A folder that is writable but not readable cannot be opened.
    let Ok(opened) = File::open(folder) else { return Ok(()) };
    match opened.sync_all() {
        Err(error) if !matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            let folder = folder.display();
            let text = format!(
                "the file is complete, but its folder `{folder}` cannot be synced ({error}), so that a power failure \
                 may take the file away: check the disk, or turn `sync` off"
            );
            Err(io::Error::new(error.kind(), text))
        }
        _ => Ok(()),
    }
}

/// Removes the temporary files of killed writers from a folder: those that can be locked.
fn remove_stale_files(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| is_temporary(path)) {
        if !fs::symlink_metadata(&path).is_ok_and(|found| found.is_file()) {
            continue;
        }
        // Some systems lock only files that are open for writing.
        let opened = File::options().read(true).write(true).open(&path).or_else(|_| File::open(&path));
        // The path may lead to another writer's file by now, if the first one was renamed since it was opened.
        if let Ok(file) = opened
            && file.try_lock().is_ok()
            && leads_to(&path, &file)
        {
            let _ = fs::remove_file(&path);
        }
    }
}

/// Whether the path leads to the open file.
pub(super) fn leads_to(path: &Path, file: &File) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let identity = |found: Metadata| (found.dev(), found.ino());
        let (found, open) = (fs::symlink_metadata(path).map(identity), file.metadata().map(identity));
        matches!((found, open), (Ok(found), Ok(open)) if found == open)
    }
    // On other systems an open file cannot be removed.
    #[cfg(not(unix))]
    {
        let _ = file;
        path.exists()
    }
}

/// Creates a locked temporary file, with the owner and permissions of the file that it replaces, or else the defaults
/// of a new file.
fn create_locked(folder: &Path, replaced: Option<&Metadata>) -> io::Result<NamedTempFile> {
    let mut builder = Builder::new();
    builder.prefix(TEMPORARY_PREFIX).suffix(TEMPORARY_SUFFIX);
    #[cfg(unix)]
    let default_mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o666);
    // The umask of the process applies to it.
    #[cfg(unix)]
    builder.permissions(default_mode);
    for _ in 0..MAX_ATTEMPTS {
        let file = builder.tempfile_in(folder).map_err(|error| {
            let folder = folder.display();
            let text = format!(
                "no file can be made in its folder `{folder}`, where it gets its name when it is complete ({error}): \
                 make the folder writable, or write into another one"
            );
            io::Error::new(error.kind(), text)
        })?;
        // Only a lock of another process counts as a failure. On a system without locks no file is taken for stale
        // either.
        let is_locked = !matches!(file.as_file().try_lock(), Err(TryLockError::WouldBlock));
        if !is_locked || !leads_to(file.path(), file.as_file()) {
            continue;
        }
        if let Some(replaced) = replaced {
            copy_owner(file.as_file(), replaced);
            file.as_file().set_permissions(replaced.permissions())?;
        }
        return Ok(file);
    }
    Err(io::Error::other("new files in the folder are removed again and again: find out which program does that"))
}

/// Gives a file the owner and group of the file that it replaces, as far as this process is permitted to. If it is not,
/// this process's user becomes the owner of a file that was another user's.
fn copy_owner(file: &File, replaced: &Metadata) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, fchown};
        let Ok(new) = file.metadata() else { return };
        let owner = (new.uid() != replaced.uid()).then(|| replaced.uid());
        let group = (new.gid() != replaced.gid()).then(|| replaced.gid());
        if owner.is_some() || group.is_some() {
            // Without privileges a process may still set the group, to one that it belongs to.
            let _ = fchown(file, owner, group).or_else(|_| fchown(file, None, group));
        }
    }
    #[cfg(not(unix))]
    let _ = (file, replaced);
}
