//! [`Watched`]: the files that a scan reads, so that none of them is written in place while it is read.

use std::sync::Arc;

use polars::prelude::*;
use polars_buffer::Buffer;

use super::files::Files;
use super::opened::{OpenedFile, Stamp, changed};

/// Bytes of CSV and IPC files that are read as a whole, before the query begins: larger files are mapped, and reading a
/// mapped file that another process makes shorter ends the program (SIGBUS).
const MOST_BYTES: u64 = 16 << 20;
/// Files that are opened at the same time.
const MOST_HANDLES: usize = 32;

/// Files and the versions of them that are read.
#[derive(Default)]
pub(super) struct Watched {
    files: Vec<File>,
    /// Whether Polars opens the files itself, the first one twice: for its schema and for its rows.
    by_path: bool,
}

struct File {
    path: PlRefPath,
    stamp: Stamp,
    /// What the file is read through; as long as it is open, no other file gets the number of its inode.
    handle: Option<Arc<OpenedFile>>,
}

impl File {
    fn now(&self) -> Option<Stamp> {
        let metadata = match &self.handle {
            Some(handle) => handle.file().metadata(),
            None => self.path.as_std_path().metadata(),
        };
        // A file that is no longer there has left its contents to the handle.
        metadata.ok().as_ref().map(Stamp::of)
    }
}

impl Watched {
    /// Files that Polars opens itself.
    pub(super) fn by_path(files: &Files) -> PolarsResult<Self> {
        let mut watched = Self { files: Vec::new(), by_path: true };
        for path in &files.paths {
            let metadata = path.as_std_path().metadata().map_err(|error| files.named(path, error.into()))?;
            watched.push(path, Stamp::of(&metadata), None);
        }
        Ok(watched)
    }

    pub(super) fn push(&mut self, path: &PlRefPath, stamp: Stamp, handle: Option<Arc<OpenedFile>>) {
        self.files.push(File { path: path.clone(), stamp, handle });
    }

    pub(super) fn is_any(&self) -> bool {
        !self.files.is_empty()
    }

    /// Fails if the first file is no longer the one that the schema was taken from; for when its first rows are there.
    pub(super) fn check_opened(&self) -> PolarsResult<()> {
        let first = self.files.first().filter(|_| self.by_path);
        let replaced = first.filter(|file| file.now().is_some_and(|now| now != file.stamp));
        replaced.map_or(Ok(()), |file| Err(changed(file.path.as_std_path())))
    }

    /// Fails if a file was written in place; for when all rows are there.
    pub(super) fn check(&self) -> PolarsResult<()> {
        let written = self.files.iter().find(|file| file.now().is_some_and(|now| file.stamp.is_rewritten(&now)));
        written.map_or(Ok(()), |file| Err(changed(file.path.as_std_path())))
    }
}

/// What Polars reads the files from: memory, or handles that it maps; nothing where it must open them itself.
pub(super) fn sources(files: &Files) -> PolarsResult<Option<(ScanSources, Watched)>> {
    let length = |path: &PlRefPath| {
        let metadata = path.as_std_path().metadata().map_err(|error| files.named(path, error.into()))?;
        Ok(metadata.len())
    };
    let lengths = files.paths.iter().map(length).collect::<PolarsResult<Vec<_>>>()?;
    let in_memory = lengths.iter().fold(0_u64, |sum, length| sum.saturating_add(*length)) <= MOST_BYTES;
    if !in_memory && files.paths.len() > MOST_HANDLES {
        return Ok(None);
    }
    let (mut watched, mut buffers, mut handles) = (Watched::default(), Vec::<Buffer<u8>>::new(), Vec::new());
    for path in &files.paths {
        let file = Arc::new(OpenedFile::open(path.as_std_path()).map_err(|error| files.named(path, error))?);
        if in_memory {
            buffers.push(file.read(&(0..file.len())).map_err(|error| files.named(path, error))?);
        } else {
            handles.push(file.file().try_clone()?);
        }
        let is_kept = watched.files.len() < MOST_HANDLES;
        watched.push(path, file.stamp(), is_kept.then_some(file));
    }
    let sources = if in_memory { ScanSources::Buffers(buffers.into()) } else { ScanSources::Files(handles.into()) };
    Ok(Some((sources, watched)))
}
