//! The Parquet files of scans and sinks: of a file system, or objects of a bucket. A file is named by its path or its
//! address, which all machines can use.

use std::fs::{self, File};
use std::io::Cursor;
use std::path::{Path, PathBuf};

use polars::prelude::*;

use crate::{background, objects};

/// The beginning of the names of files that are not done. Scans leave them out.
const UNFINISHED: &str = ".fanfold-";

/// The result of an operation on objects, which runs in the background.
macro_rules! of_objects {
    ($operation:expr) => {
        background::wait($operation).map_err(|error| error.to_string()).flatten()
    };
}

/// The files of a path, a pattern or a folder, in the order of their names.
pub(crate) fn input(path: &Path) -> PolarsResult<Vec<String>> {
    let text = path.to_str().ok_or_else(|| polars_err!(ComputeError: "the path is not UTF-8"))?;
    let files = if objects::is_address(text) {
        let address = text.to_owned();
        of_objects!(objects::list(address)).map_err(|why| polars_err!(ComputeError: "cannot list `{text}`: {why}"))?
    } else {
        local_input(path)?
    };
    polars_ensure!(!files.is_empty(), ComputeError: "no file matches `{text}`");
    Ok(files)
}

fn local_input(path: &Path) -> PolarsResult<Vec<String>> {
    let path = std::path::absolute(path)?;
    let pattern = if path.is_dir() { path.join("**/*.parquet") } else { path.clone() };
    let not_utf8 = || polars_err!(ComputeError: "the path is not UTF-8");
    let text = pattern.to_str().ok_or_else(not_utf8)?;
    let mut files: Vec<PathBuf> = if path.is_file() {
        vec![path]
    } else {
        let found = glob::glob(text).map_err(|error| polars_err!(ComputeError: "`{text}` is no pattern: {error}"))?;
        found.collect::<Result<_, _>>().map_err(|error| polars_err!(ComputeError: "{error}"))?
    };
    files.retain(|file| file.is_file() && !is_unfinished(file));
    files.sort();
    files.iter().map(|file| file.to_str().map(str::to_owned).ok_or_else(not_utf8)).collect()
}

/// Whether this is a file of a sink that is not done, or was killed.
fn is_unfinished(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(UNFINISHED))
}

/// The number of rows of a file, from its footer.
pub(crate) fn height(file: &str) -> PolarsResult<usize> {
    let height = if objects::is_address(file) {
        of_objects!(objects::height(file.to_owned()))
    } else {
        let opened = File::open(file).map_err(|error| error.to_string());
        opened.and_then(|opened| ParquetReader::new(opened).num_rows().map_err(|error| error.to_string()))
    };
    height.map_err(|why| polars_err!(ComputeError: "cannot read `{file}`: {why}"))
}

/// Reads `count` rows of a file from row `first` on.
pub(crate) fn read(file: &str, first: usize, count: usize) -> Result<DataFrame, String> {
    if objects::is_address(file) {
        let bytes = of_objects!(objects::read(file.to_owned(), first, count))?;
        let reader = ParquetReader::new(Cursor::new(&bytes)).with_slice(Some((first, count)));
        return reader.finish().map_err(|error| error.to_string());
    }
    let opened = File::open(file).map_err(|error| error.to_string())?;
    ParquetReader::new(opened).with_slice(Some((first, count))).finish().map_err(|error| error.to_string())
}

/// Writes a file, under another name first, so that a file of that name is complete.
pub(crate) fn write(file: &str, frame: &mut DataFrame) -> Result<(), String> {
    if objects::is_address(file) {
        let mut bytes = Vec::new();
        ParquetWriter::new(&mut bytes).finish(frame).map_err(|error| error.to_string())?;
        return of_objects!(objects::write(file.to_owned(), bytes));
    }
    let path = Path::new(file);
    let folder = path.parent().unwrap_or(Path::new("."));
    // Two executors may write the same chunk, if the first one is believed dead.
    let mut file = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .suffix(".tmp")
        .tempfile_in(folder)
        .map_err(|error| error.to_string())?;
    ParquetWriter::new(file.as_file_mut()).finish(frame).map_err(|error| error.to_string())?;
    file.as_file().sync_all().map_err(|error| error.to_string())?;
    file.persist(path).map(drop).map_err(|error| error.to_string())
}

/// The folder of a sink.
///
/// The executors write the files under other names, and the driver renames them when all are written: so the folder has
/// the whole result or none of it, though an executor may write a file that nobody needs any more. Objects of a bucket
/// cannot be renamed, and have their names from the beginning.
pub(crate) struct SinkFolder {
    name: String,
    /// The beginning of the names until all files are written. Scans leave it out.
    prefix: String,
}

impl SinkFolder {
    /// Makes the folder, which must be empty.
    pub(crate) fn make(folder: &Path) -> PolarsResult<Self> {
        let failed =
            |why: &dyn std::fmt::Display| polars_err!(ComputeError: "cannot write to `{}`: {why}", folder.display());
        let text = folder.to_str().ok_or_else(|| failed(&"the path is not UTF-8"))?;
        let (name, is_empty) = if objects::is_address(text) {
            let name = text.trim_end_matches('/').to_owned();
            let is_empty = of_objects!(objects::is_empty(name.clone())).map_err(|why| failed(&why))?;
            (name, is_empty)
        } else {
            let path = std::path::absolute(folder)?;
            fs::create_dir_all(&path).map_err(|error| failed(&error))?;
            let mut entries = fs::read_dir(&path).map_err(|error| failed(&error))?;
            let is_ours = |entry: std::io::Result<fs::DirEntry>| entry.is_ok_and(|entry| is_unfinished(&entry.path()));
            (path.to_str().ok_or_else(|| failed(&"the path is not UTF-8"))?.to_owned(), entries.all(is_ours))
        };
        polars_ensure!(is_empty, ComputeError: "the folder `{}` is not empty: name a new one", folder.display());
        let prefix = if objects::is_address(text) {
            "part-".to_owned()
        } else {
            format!("{UNFINISHED}{}-part-", crate::random_name())
        };
        Ok(Self { name, prefix })
    }

    /// Where the file of a chunk is written to.
    pub(crate) fn part(&self, number: usize) -> String {
        format!("{}/{}{number:06}.parquet", self.name, self.prefix)
    }

    /// Gives the files of the first chunks, which are all, their names.
    pub(crate) fn finish(&self, count: usize) -> PolarsResult<()> {
        if objects::is_address(&self.name) {
            return Ok(());
        }
        let name = |number: usize| format!("{}/part-{number:06}.parquet", self.name);
        for number in 0..count {
            if let Err(error) = fs::rename(self.part(number), name(number)) {
                (0..number).for_each(|done| drop(fs::remove_file(name(done))));
                polars_bail!(ComputeError: "cannot rename a file to `{}`: {error}", name(number));
            }
        }
        // A file that is renamed may have its old name after a power loss, until the folder is written.
        let synced = if cfg!(unix) { File::open(&self.name).and_then(|folder| folder.sync_all()) } else { Ok(()) };
        synced.map_err(|error| polars_err!(ComputeError: "cannot write the folder `{}`: {error}", self.name))
    }

    /// Removes the files of the first chunks.
    pub(crate) fn remove_parts(&self, count: usize) {
        let parts: Vec<String> = (0..count).map(|number| self.part(number)).collect();
        if objects::is_address(&self.name) {
            // Those that cannot be removed stay.
            let _ = background::wait(objects::remove(parts));
        } else {
            parts.iter().for_each(|part| drop(fs::remove_file(part)));
        }
    }
}
