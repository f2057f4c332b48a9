//! [`OpenedFile`]: a file that is opened once and read through that handle, so that it is one version of the file.
//!
//! A file that is replaced (written beside and renamed) keeps its old contents under an open handle. A file that is
//! written in place is an error: its size or its time of modification differs from what it was when it was opened.

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use polars::prelude::*;
use polars_buffer::Buffer;

/// File systems take times from the kernel's tick, of up to 10 ms: two changes within one tick have the same time.
const TICK: Duration = Duration::from_millis(10);

/// What tells one version of a file from another one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: Option<(u64, u64)>,
    /// Tells a file from a later one that has got the number of its inode.
    created: Option<SystemTime>,
    length: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
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

    /// Whether this version of a file was written in place since, and is another one now.
    pub(super) fn is_rewritten(&self, now: &Self) -> bool {
        (self.inode, self.created) == (now.inode, now.created) && self != now
    }
}

/// A file and the version of it that is read.
pub(super) struct OpenedFile {
    path: PathBuf,
    file: File,
    stamp: Stamp,
}

impl OpenedFile {
    /// Opens a file.
    ///
    /// Waits until its last change is at least a tick old, so that the next change has another time.
    pub(super) fn open(path: &Path) -> PolarsResult<Self> {
        let file = File::open(path)?;
        let mut stamp = Stamp::of(&file.metadata()?);
        let age = stamp.modified.and_then(|modified| SystemTime::now().duration_since(modified).ok());
        if let Some(rest) = age.and_then(|age| TICK.checked_sub(age)) {
            std::thread::sleep(rest);
            stamp = Stamp::of(&file.metadata()?);
        }
        Ok(Self { path: path.to_owned(), file, stamp })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn stamp(&self) -> Stamp {
        self.stamp
    }

    pub(super) fn len(&self) -> u64 {
        self.stamp.length
    }

    /// The bytes of a range.
    ///
    /// The length is compared with the file's before memory is taken: ranges are claims of the file.
    pub(super) fn read(&self, range: &Range<u64>) -> PolarsResult<Buffer<u8>> {
        let mut bytes = Vec::new();
        self.append(range, &mut bytes)?;
        self.check()?;
        Ok(bytes.into())
    }

    /// Appends the bytes of a range; [`check`](Self::check) says whether they are of the version that was opened.
    pub(super) fn append(&self, range: &Range<u64>, bytes: &mut Vec<u8>) -> PolarsResult<()> {
        let length = range.end.checked_sub(range.start).filter(|_| range.end <= self.stamp.length);
        let length = length.and_then(|length| usize::try_from(length).ok()).ok_or_else(|| {
            polars_err!(
                ComputeError: "`{}` is damaged: it is {} bytes long, and bytes {} to {} were to be read: get a new copy \
                               of it", self.path.display(), self.stamp.length, range.start, range.end
            )
        })?;
        bytes.try_reserve_exact(length).map_err(io::Error::from)?;
        let start = bytes.len();
        bytes.resize(start + length, 0);
        let (mut rest, mut offset) = (&mut bytes[start..], range.start);
        while !rest.is_empty() {
            match self.read_at(rest, offset) {
                // The file is shorter than it was.
                Ok(0) => return Err(changed(&self.path)),
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

    /// Fails if the file was written in place since it was opened.
    pub(super) fn check(&self) -> PolarsResult<()> {
        let now = Stamp::of(&self.file.metadata()?);
        if now == self.stamp { Ok(()) } else { Err(changed(&self.path)) }
    }
}

pub(super) fn changed(path: &Path) -> PolarsError {
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
