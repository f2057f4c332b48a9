//! [`OpenFile`]: a file that is opened once and read through that handle, so that all its bytes are of one version.
//!
//! A file that is replaced (a new file is renamed over it) keeps its old contents under an open handle. A file that is
//! modified in place is an error: its size or modification time differs from that at opening.

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use polars::prelude::*;
use polars_buffer::Buffer;

/// The resolution of modification times. File systems take them from the kernel's tick of up to 10 ms, so two changes
/// within one tick may have the same time.
const TIMESTAMP_TICK: Duration = Duration::from_millis(10);

/// The metadata that tells one version of a file from another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct FileVersion {
    inode: Option<(u64, u64)>,
    /// Tells a file from a later one that reuses its inode number.
    created: Option<SystemTime>,
    length: u64,
    modified: Option<SystemTime>,
}

impl FileVersion {
    pub(super) fn from_metadata(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let inode = {
            use std::os::unix::fs::MetadataExt;
            Some((metadata.dev(), metadata.ino()))
        };
        #[cfg(not(unix))]
        let inode = None;
        let (created, modified) = (metadata.created().ok(), metadata.modified().ok());
        Self { inode, created, length: metadata.len(), modified }
    }

    /// Whether `now` is the same file, modified in place since this version.
    pub(super) fn is_modified_in_place(&self, now: &Self) -> bool {
        (self.inode, self.created) == (now.inode, now.created) && self != now
    }
}

/// An open file and its version at opening.
pub(super) struct OpenFile {
    path: PathBuf,
    file: File,
    version: FileVersion,
}

impl OpenFile {
    /// Opens a file.
    ///
    /// Sleeps until the last change is at least one timestamp tick old, so that a later change has another time.
    pub(super) fn open(path: &Path) -> PolarsResult<Self> {
        let file = File::open(path)?;
        let mut version = FileVersion::from_metadata(&file.metadata()?);
        let age = version.modified.and_then(|modified| SystemTime::now().duration_since(modified).ok());
        if let Some(rest) = age.and_then(|age| TIMESTAMP_TICK.checked_sub(age)) {
            std::thread::sleep(rest);
            version = FileVersion::from_metadata(&file.metadata()?);
        }
        Ok(Self { path: path.to_owned(), file, version })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn version(&self) -> FileVersion {
        self.version
    }

    pub(super) fn len(&self) -> u64 {
        self.version.length
    }

    /// The bytes of a range, checked to be of the version that was opened.
    ///
    /// # Errors
    ///
    /// If the range ends behind the file, if the file was modified in place, or if it cannot be read.
    pub(super) fn read(&self, range: &Range<u64>) -> PolarsResult<Buffer<u8>> {
        let mut bytes = Vec::new();
        self.append(range, &mut bytes)?;
        self.check()?;
        Ok(bytes.into())
    }

    /// Appends the bytes of a range. The caller calls [`check`](Self::check) afterwards.
    ///
    /// Ranges come from the file's own metadata and may be wrong, so the range is compared with the file's length
    /// before memory is allocated for it.
    pub(super) fn append(&self, range: &Range<u64>, bytes: &mut Vec<u8>) -> PolarsResult<()> {
        let length = range.end.checked_sub(range.start).filter(|_| range.end <= self.version.length);
        let length = length.and_then(|length| usize::try_from(length).ok()).ok_or_else(|| {
            polars_err!(
                ComputeError: "`{}` is damaged: it is {} bytes long, and bytes {} to {} were to be read: get a new \
                               copy of it", self.path.display(), self.version.length, range.start, range.end
            )
        })?;
        bytes.try_reserve_exact(length).map_err(io::Error::from)?;
        let start = bytes.len();
        bytes.resize(start + length, 0);
        let (mut rest, mut offset) = (&mut bytes[start..], range.start);
        while !rest.is_empty() {
            match self.read_at(rest, offset) {
                // The end of the file: it is shorter than at opening.
                Ok(0) => return Err(modified_in_place_error(&self.path)),
                Ok(read) => {
                    rest = &mut rest[read..];
                    offset += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    pub(super) fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        read_at(&self.file, bytes, offset)
    }

    /// Fails if the file was modified in place since it was opened.
    pub(super) fn check(&self) -> PolarsResult<()> {
        let now = FileVersion::from_metadata(&self.file.metadata()?);
        if now == self.version { Ok(()) } else { Err(modified_in_place_error(&self.path)) }
    }
}

pub(super) fn modified_in_place_error(path: &Path) -> PolarsError {
    polars_err!(
        ComputeError: "`{}` was written while it was read: scan it again when it is complete, or replace files by \
                       renaming new ones", path.display()
    )
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, bytes, offset)
}
