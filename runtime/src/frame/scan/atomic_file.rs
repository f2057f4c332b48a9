//! [`Beside`]: a file that gets its name only when it is complete.
//!
//! It is written under a temporary name in the same folder, and locked (`flock`) as long as its writer lives. So the
//! next file that is written into the folder can tell what a killed program has left behind: it can lock that, and
//! removes it.
//!
//! A new file cannot be made and locked in one step, and may be removed in between. Its writer looks after that whether
//! it is still there, and otherwise makes another one.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile, TempPath};

/// How temporary names begin and end.
pub(super) const PREFIX: &str = ".fanfold-";
const SUFFIX: &str = ".tmp";

/// A file that is written beside its final name, which it gets at the end; gone if it is dropped before.
pub(super) struct Beside {
    /// Where it is written; nothing for a device or pipe, which is written as it stands.
    written: Option<TempPath>,
    target: PathBuf,
    sync: bool,
}

/// How much is written to the file at a time.
const BUFFER: usize = 1 << 20;
/// New files that may be taken for a dead writer's, one after the other, before it is given up.
const TRIES: usize = 100;

impl Beside {
    /// Creates it; with `sync` it is on the disk before it gets its name.
    pub(super) fn create(path: &Path, sync: bool) -> io::Result<(Self, BufWriter<File>)> {
        // A link stays one: its target is what is made or replaced.
        let target = target_of(path)?;
        let before = fs::metadata(&target).ok();
        if before.as_ref().is_some_and(|before| !before.is_file() && !before.is_dir()) {
            let device = File::options().write(true).open(&target)?;
            return Ok((Self { written: None, target, sync }, BufWriter::with_capacity(BUFFER, device)));
        }
        if before.as_ref().is_some_and(Metadata::is_dir) {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory: give a file's name"));
        }
        let folder = folder_of(&target);
        if !folder.is_dir() {
            let why = format!("the folder `{}` is not there: make it first", folder.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, why));
        }
        if before.is_some() {
            // A rename asks the folder alone for permission, and would replace a file that nobody may write.
            File::options().write(true).open(&target).map_err(|error| unwritable(&error))?;
        }
        remove_stale(folder);
        let file = temporary(folder, before.as_ref())?;
        let (file, written) = file.into_parts();
        Ok((Self { written: Some(written), target, sync }, BufWriter::with_capacity(BUFFER, file)))
    }

    /// Gives the file its name, once `writer` has written everything.
    pub(super) fn keep(self, mut writer: BufWriter<File>) -> io::Result<()> {
        writer.flush()?;
        let Some(written) = self.written else { return Ok(()) };
        if self.sync {
            writer.get_ref().sync_all()?;
        }
        written.persist(&self.target).map_err(|refused| refused.error)?;
        // Until here the lock was needed.
        drop(writer);
        if self.sync { sync_folder(folder_of(&self.target)) } else { Ok(()) }
    }
}

fn unwritable(error: &io::Error) -> io::Error {
    let why = format!(
        "the file that is there may not be written to ({error}): make it writable, remove it, or write to another file"
    );
    io::Error::new(error.kind(), why)
}

/// Links that are followed one after the other, as on Linux.
const MOST_LINKS: usize = 40;

/// Where a path leads. Its last link may lead to a file that is not there yet.
fn target_of(path: &Path) -> io::Result<PathBuf> {
    let mut target = path.to_owned();
    for _ in 0..MOST_LINKS {
        if let Ok(found) = fs::canonicalize(&target) {
            return Ok(found);
        }
        let Ok(next) = fs::read_link(&target) else { return Ok(target) };
        target = folder_of(&target).join(next);
    }
    fs::canonicalize(path)
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether this is a temporary name.
pub(super) fn is_temporary(path: &Path) -> bool {
    path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX))
}

/// Puts the names in a folder on the disk. Systems that cannot do that for folders do it by themselves.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    // A folder that may be written to but not read cannot be opened.
    let Ok(opened) = File::open(folder) else { return Ok(()) };
    match opened.sync_all() {
        Err(error) if !matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            let folder = folder.display();
            let why = format!(
                "the file is complete, but its folder `{folder}` cannot be synced ({error}), so that a power failure may \
                 take the file away: check the disk, or turn `sync` off"
            );
            Err(io::Error::new(error.kind(), why))
        }
        _ => Ok(()),
    }
}

/// Removes what dead writers have left in a folder, as far as that can be told.
fn remove_stale(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| is_temporary(path)) {
        if !fs::symlink_metadata(&path).is_ok_and(|found| found.is_file()) {
            continue;
        }
        // Some systems lock only what may be written.
        let opened = File::options().read(true).write(true).open(&path).or_else(|_| File::open(&path));
        // Its writer may have ended, and its name be another's, since it was opened.
        if let Ok(file) = opened
            && file.try_lock().is_ok()
            && is_still(&path, &file)
        {
            let _ = fs::remove_file(&path);
        }
    }
}

/// Whether this path still leads to this open file.
fn is_still(path: &Path, file: &File) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let identity = |found: Metadata| (found.dev(), found.ino());
        let (found, open) = (fs::symlink_metadata(path).map(identity), file.metadata().map(identity));
        matches!((found, open), (Ok(found), Ok(open)) if found == open)
    }
    // Elsewhere an open file is not removed.
    #[cfg(not(unix))]
    {
        let _ = file;
        path.exists()
    }
}

/// A locked file with the owner and permissions of the one that it replaces, or else those of any new file.
fn temporary(folder: &Path, replaced: Option<&Metadata>) -> io::Result<NamedTempFile> {
    let mut builder = Builder::new();
    builder.prefix(PREFIX).suffix(SUFFIX);
    #[cfg(unix)]
    let everybody = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o666);
    // What the process's umask leaves of it.
    #[cfg(unix)]
    builder.permissions(everybody);
    for _ in 0..TRIES {
        let file = builder.tempfile_in(folder).map_err(|error| {
            let folder = folder.display();
            let why = format!(
                "no file can be made in its folder `{folder}`, where it gets its name when it is complete ({error}): make \
                 the folder writable, or write into another one"
            );
            io::Error::new(error.kind(), why)
        })?;
        // Where the system has no locks, nothing is taken for stale either.
        let is_mine = !matches!(file.as_file().try_lock(), Err(TryLockError::WouldBlock));
        if !is_mine || !is_still(file.path(), file.as_file()) {
            continue;
        }
        if let Some(replaced) = replaced {
            keep_owner(file.as_file(), replaced);
            file.as_file().set_permissions(replaced.permissions())?;
        }
        return Ok(file);
    }
    Err(io::Error::other("new files in the folder are removed again and again: find out which program does that"))
}

/// Gives a file the owner and group of the one that it replaces, as far as this process may: some other user's file, which
/// it may write, becomes its own otherwise.
fn keep_owner(file: &File, replaced: &Metadata) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, fchown};
        let Ok(made) = file.metadata() else { return };
        let owner = (made.uid() != replaced.uid()).then(|| replaced.uid());
        let group = (made.gid() != replaced.gid()).then(|| replaced.gid());
        if owner.is_some() || group.is_some() {
            // The group alone may be one that the process is in.
            let _ = fchown(file, owner, group).or_else(|_| fchown(file, None, group));
        }
    }
    #[cfg(not(unix))]
    let _ = (file, replaced);
}
