//! [`SharedOutput`]: an output file shared with a writer of Polars that does not give it back.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::{Arc, Mutex, PoisonError};

use polars::prelude::*;

use crate::sys::mutex;

/// A buffered output file.
pub(in crate::frame::scan) type OutputFile = BufWriter<File>;

struct OutputState {
    output: OutputFile,
    /// The last I/O error. Polars' Parquet writer reports it as a file out of specification.
    io_error: Option<std::io::Error>,
}

/// A handle to an output file: one for Polars' writer, and one that takes the file back at the end.
#[derive(Clone)]
pub(in crate::frame::scan) struct SharedOutput(Arc<Mutex<OutputState>>);

impl SharedOutput {
    pub(super) fn new(output: OutputFile) -> Self {
        Self(Arc::new(Mutex::new(OutputState { output, io_error: None })))
    }

    /// The result of a writer, with its error replaced by the I/O error that caused it, if there is one.
    pub(super) fn prefer_io_error<T>(&self, written: PolarsResult<T>) -> PolarsResult<T> {
        written.map_err(|error| mutex::lock(&self.0).io_error.take().map_or(error, PolarsError::from))
    }

    /// The file, once all other handles are dropped.
    pub(super) fn into_inner(self) -> PolarsResult<OutputFile> {
        let state = Arc::into_inner(self.0);
        let state = state.ok_or_else(|| polars_err!(ComputeError: "the file is still being written"))?;
        Ok(state.into_inner().unwrap_or_else(PoisonError::into_inner).output)
    }

    /// Writes to the file and stores an error; returns a copy of it, as an `io::Error` cannot be cloned.
    fn with_output<T>(&self, write: impl FnOnce(&mut OutputFile) -> std::io::Result<T>) -> std::io::Result<T> {
        let mut state = mutex::lock(&self.0);
        write(&mut state.output).map_err(|error| {
            let copy = error.raw_os_error().map_or_else(|| error.kind().into(), std::io::Error::from_raw_os_error);
            state.io_error = Some(error);
            copy
        })
    }
}

impl Write for SharedOutput {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.with_output(|output| output.write(bytes))
    }

    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.with_output(|output| output.write_all(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.with_output(Write::flush)
    }
}
