//! [`Beside`]: a file that gets its name only when it is complete.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile, TempPath};

/// A file that is written beside its final name, which it gets at the end; gone if it is dropped before.
pub(super) struct Beside {
    /// Where it is written; nothing for a device or pipe, which is written as it stands.
    written: Option<TempPath>,
    target: PathBuf,
}

/// How much is written to the file at a time.
const BUFFER: usize = 1 << 20;

impl Beside {
    pub(super) fn create(path: &Path) -> io::Result<(Self, BufWriter<File>)> {
        // A link stays one: its target is what is replaced.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let before = fs::metadata(&target).ok();
        if before.as_ref().is_some_and(|before| !before.is_file() && !before.is_dir()) {
            let device = File::options().write(true).open(&target)?;
            return Ok((Self { written: None, target }, BufWriter::with_capacity(BUFFER, device)));
        }
        if before.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory: give a file's name"));
        }
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !folder.is_dir() {
            let why = format!("the folder `{}` is not there: make it first", folder.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, why));
        }
        let file = temporary(folder, before.map(|before| before.permissions()))?;
        let (file, written) = file.into_parts();
        Ok((Self { written: Some(written), target }, BufWriter::with_capacity(BUFFER, file)))
    }

    /// Gives the file its name, once `writer` has written everything.
    pub(super) fn keep(self, mut writer: BufWriter<File>) -> io::Result<()> {
        writer.flush()?;
        drop(writer);
        match self.written {
            Some(written) => written.persist(&self.target).map_err(|refused| refused.error),
            None => Ok(()),
        }
    }
}

/// A file with the permissions of the one that it replaces, or else those of any new file.
fn temporary(folder: &Path, permissions: Option<Permissions>) -> io::Result<NamedTempFile> {
    let mut builder = Builder::new();
    builder.prefix(".fanfold-").suffix(".tmp");
    #[cfg(unix)]
    let everybody = <Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o666);
    // What the process's umask leaves of it.
    #[cfg(unix)]
    builder.permissions(everybody);
    let file = builder.tempfile_in(folder)?;
    if let Some(permissions) = permissions {
        file.as_file().set_permissions(permissions)?;
    }
    Ok(file)
}
