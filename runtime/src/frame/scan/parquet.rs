//! [`Blocks`]: the rows of Parquet files, decoded by the workers themselves.
//!
//! A block is a row group, or a part of a large one. Chunks are slices of blocks; whoever needs a block first decodes
//! it, and it is dropped with the last chunk of it. So memory is bounded by some blocks a worker, and no file stays
//! mapped: Polars' streaming engine maps whole files, and reads ahead on threads of its own.

use std::collections::VecDeque;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use polars::io::parquet::metadata::{FileMetadata, FileMetadataRef};
use polars::prelude::*;
use polars_core::utils::accumulate_dataframes_vertical;

use super::beside::is_temporary;
use super::guarded::guarded;
use super::once::Once;

/// Bytes of a block at most, as its file tells them.
const MOST_BYTES: usize = 64 << 20;
/// Rows of a chunk at least, where their number is not said.
const LEAST_ROWS: usize = 1 << 15;

/// A file, and what its directory says.
struct Source {
    path: PathBuf,
    directory: FileMetadataRef,
    /// Whether there are others, so that errors must say which one it is.
    one_of_many: bool,
}

impl Source {
    /// Opens a file and looks at it: one that lost its middle still has the directory at its end.
    ///
    /// Polars takes the places named there from the mapped file without asking whether the file is so long, which its
    /// streaming engine does by undefined behaviour; so they are compared with its length here.
    fn open(path: PathBuf, one_of_many: bool) -> PolarsResult<Self> {
        let file = File::open(&path)?;
        let length = file.metadata()?.len();
        let directory = guarded(|| Ok(ParquetReader::new(file).get_metadata()?.clone()))?;
        for (group, columns) in directory.row_groups.iter().enumerate() {
            for column in columns.parquet_columns() {
                polars_ensure!(
                    column.byte_range().end <= length,
                    ComputeError: "`{}` is damaged: it is {length} bytes long, and row group {group} would reach \
                                   beyond: get a new copy of it", path.display()
                );
            }
        }
        Ok(Self { path, directory, one_of_many })
    }

    fn reader(&self, directory: FileMetadataRef) -> PolarsResult<ParquetReader<File>> {
        let mut reader = ParquetReader::new(File::open(&self.path)?);
        reader.set_metadata(directory);
        Ok(reader)
    }

    fn has_schema_of(&self, other: &Self) -> PolarsResult<bool> {
        let schema = |source: &Self| guarded(|| source.reader(source.directory.clone())?.schema());
        Ok(schema(self)? == schema(other)?)
    }

    /// Rows of a row group.
    ///
    /// The reader is told of no other group: on its way to a slice Polars also decompresses pages of those before it,
    /// so that the last group of a file would cost as much as all of it.
    fn read(&self, group: usize, rows: Range<usize>) -> PolarsResult<DataFrame> {
        let all = &self.directory;
        let group = all.row_groups.get(group).cloned();
        let whole = if let Some(group) = &group { group.num_rows() } else { 0 };
        let directory = FileMetadata {
            version: all.version,
            num_rows: whole,
            max_row_group_height: whole,
            created_by: all.created_by.clone(),
            row_groups: group.into_iter().collect(),
            key_value_metadata: all.key_value_metadata.clone(),
            schema_descr: all.schema_descr.clone(),
            column_orders: all.column_orders.clone(),
            footer_buf: all.footer_buf.clone(),
        };
        let slice = (rows.len() < whole).then_some((rows.start, rows.len()));
        let read = guarded(|| {
            let reader = self.reader(Arc::new(directory))?.read_parallel(ParallelStrategy::None);
            reader.with_slice(slice).finish()
        });
        read.map_err(|error| if self.one_of_many { of_file(&error, &self.path) } else { error })
    }
}

/// Rows that are decoded together.
struct Block {
    source: Arc<Source>,
    /// The row group.
    group: usize,
    /// Its rows in there.
    rows: Range<usize>,
    /// Whether somebody decodes it, or has.
    begun: AtomicBool,
    frame: Once<PolarsResult<DataFrame>>,
}

impl Block {
    /// The rows; decoded here, or waited for where somebody is at it.
    fn frame(&self) -> PolarsResult<&DataFrame> {
        self.begun.store(true, Ordering::Relaxed);
        let frame = self.frame.get_or_init(|| self.source.read(self.group, self.rows.clone()));
        // Errors are no values to be had twice.
        frame.as_ref().map_err(|error| error.wrap_msg(str::to_owned))
    }

    /// Decodes it, unless somebody does.
    fn read_ahead(&self) -> bool {
        !self.begun.swap(true, Ordering::Relaxed) && self.frame().is_ok()
    }
}

/// Chunks of Parquet files.
pub(super) struct Blocks {
    /// From the one on that the next chunk begins in.
    queue: VecDeque<Arc<Block>>,
    /// Where in the first block that is.
    start: usize,
    /// Rows a chunk; each block is one where that is not said, or several short ones are.
    rows: Option<usize>,
    /// Blocks that may be decoded before their turn.
    ahead: usize,
    /// What files without rows give.
    empty: Option<Read>,
}

impl Blocks {
    /// The chunks of files that are read here; nothing if that is not for us to do.
    pub(super) fn new(pattern: &Path, rows: Option<usize>, workers: usize) -> PolarsResult<Option<Self>> {
        let Some(paths) = files(pattern) else { return Ok(None) };
        let many = paths.len() > 1;
        let sources = paths.into_iter().map(|path| {
            let opened = Source::open(path.clone(), many).map(Arc::new);
            opened.map_err(|error| if many { of_file(&error, &path) } else { error })
        });
        let sources = sources.collect::<PolarsResult<Vec<_>>>()?;
        let Some(first) = sources.first() else { return Ok(None) };
        // Also where there is but one: a file whose schema cannot be had fails here.
        for source in &sources {
            if !source.has_schema_of(first)? {
                return Ok(None);
            }
        }
        let empty = Read { parts: vec![(Arc::new(Block::of(first, 0, 0..0)), 0..0)], ahead: vec![] };
        let queue = sources.iter().flat_map(Block::all).collect();
        Ok(Some(Self { queue, start: 0, rows, ahead: workers, empty: Some(empty) }))
    }

    /// Rows in all.
    pub(super) fn height(&self) -> usize {
        self.queue.iter().map(|block| block.rows.len()).sum()
    }

    /// The next chunk, still to be read; files without rows have one empty chunk.
    pub(super) fn next(&mut self) -> Option<Read> {
        let mut parts = Vec::new();
        let mut rows = 0;
        while let Some(block) = self.queue.front() {
            let left = block.rows.len() - self.start;
            let taken = self.rows.map_or(left, |wanted| left.min(wanted - rows));
            parts.push((Arc::clone(block), self.start..self.start + taken));
            self.start += taken;
            if taken == left {
                self.queue.pop_front();
                self.start = 0;
            }
            rows += taken;
            if rows >= self.rows.unwrap_or(LEAST_ROWS) {
                break;
            }
        }
        if parts.is_empty() {
            return self.empty.take();
        }
        self.empty = None;
        // Where chunks are shorter than blocks, those who would wait for a block have others to decode.
        let ahead = if self.start > 0 { self.ahead } else { 0 };
        Some(Read { parts, ahead: self.queue.iter().skip(1).take(ahead).cloned().collect() })
    }
}

impl Block {
    fn of(source: &Arc<Source>, group: usize, rows: Range<usize>) -> Self {
        Self { source: Arc::clone(source), group, rows, begun: AtomicBool::new(false), frame: Once::new() }
    }

    /// The blocks of a file that have rows.
    fn all(source: &Arc<Source>) -> Vec<Arc<Self>> {
        let mut blocks = Vec::new();
        for (index, group) in source.directory.row_groups.iter().enumerate() {
            let (height, bytes) = (group.num_rows(), group.total_byte_size());
            let mut start = 0;
            for size in crate::split::balanced(height, bytes.div_ceil(MOST_BYTES)) {
                if size > 0 {
                    blocks.push(Arc::new(Self::of(source, index, start..start + size)));
                }
                start += size;
            }
        }
        blocks
    }
}

/// A chunk still to be read: rows of blocks.
pub(super) struct Read {
    parts: Vec<(Arc<Block>, Range<usize>)>,
    ahead: Vec<Arc<Block>>,
}

impl Read {
    pub(super) fn height(&self) -> usize {
        self.parts.iter().map(|(_, rows)| rows.len()).sum()
    }

    /// Reads it.
    pub(super) fn rows(self) -> PolarsResult<DataFrame> {
        if let [(block, _), ..] = &*self.parts
            && block.begun.load(Ordering::Relaxed)
            && block.frame.get().is_none()
        {
            // Somebody decodes it right now: this worker need not stand by.
            let _ = self.ahead.iter().any(|block| block.read_ahead());
        }
        let parts = self
            .parts
            .iter()
            .map(|(block, rows)| Ok(block.frame()?.slice(super::super::cut::offset(rows.start), rows.len())));
        let mut parts = parts.collect::<PolarsResult<Vec<_>>>()?;
        if parts.len() == 1
            && let Some(only) = parts.pop()
        {
            return Ok(only);
        }
        accumulate_dataframes_vertical(parts)
    }
}

/// An error, with the file that it is about.
fn of_file(error: &PolarsError, path: &Path) -> PolarsError {
    error.wrap_msg(|text| format!("`{}`: {text}", path.display()))
}

/// Whether this is a pattern of files of this machine, and none fits.
pub(super) fn matches_nothing(pattern: &Path) -> bool {
    let Some(text) = pattern.to_str() else { return false };
    let is_pattern = text.contains(['*', '?', '[']) && !text.contains("://") && !pattern.exists();
    let is_input = |found: glob::GlobResult| found.map_or(true, |path| !is_temporary(&path));
    is_pattern && glob::glob(text).is_ok_and(|mut matches| !matches.any(is_input))
}

/// The plain files that a path or pattern stands for, by name; nothing where that is for Polars to find out.
fn files(pattern: &Path) -> Option<Vec<PathBuf>> {
    if pattern.is_file() {
        return Some(vec![pattern.to_owned()]);
    }
    let matches = glob::glob(pattern.to_str()?).ok()?;
    let mut files = matches.collect::<Result<Vec<_>, _>>().ok()?;
    files.retain(|file| !is_temporary(file));
    // As Polars sorts them: by their text, not folder by folder.
    files.sort_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
    // Folders named `key=value` are columns of the rows in them, which is for Polars to add.
    let is_part = |path: &PathBuf| path.parent().is_some_and(|folder| folder.to_string_lossy().contains('='));
    if files.iter().any(is_part) {
        return None;
    }
    files.iter().all(|path| path.is_file()).then_some(files)
}
