//! Reads flights and airports. Every error is one line that says what is wrong with the file.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::fs::File;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polars::prelude::*;

use crate::route::{Point, Route};

/// The path of a file that comes with the examples; `data/README.md` lists them.
#[must_use]
pub fn bundled(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../data").join(file)
}

/// The positions of airports, by IATA code.
#[derive(Clone, Debug)]
pub struct Airports(HashMap<String, Point>);

impl Airports {
    /// The route between two airports; `None` if one of them is unknown.
    #[must_use]
    pub fn route(&self, origin: &str, destination: &str) -> Option<Route> {
        Some(Route::between(*self.0.get(origin)?, *self.0.get(destination)?))
    }

    /// The position of an airport.
    #[must_use]
    pub fn get(&self, iata: &str) -> Option<Point> {
        self.0.get(iata).copied()
    }

    /// The number of airports.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no airports.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The required content of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Time,
    Whole,
    Degrees,
    Text,
}

impl Holds {
    /// The type to read it as.
    fn dtype(self) -> DataType {
        match self {
            Self::Time => DataType::Datetime(TimeUnit::Microseconds, None),
            Self::Whole => DataType::Int64,
            Self::Degrees => DataType::Float64,
            Self::Text => DataType::String,
        }
    }

    /// Whether a column of this type has the required content.
    fn accepts(self, found: &DataType) -> bool {
        match self {
            Self::Time => matches!(found, DataType::Datetime(_, None)),
            Self::Whole => found.is_integer(),
            Self::Degrees => found.is_primitive_numeric(),
            Self::Text => matches!(found, DataType::String),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Time => "a date and time (datetime, no time zone)",
            Self::Whole => "whole numbers (an integer type)",
            Self::Degrees => "numbers (degrees)",
            Self::Text => "text (str)",
        }
    }
}

/// Columns by name.
type Columns = [(&'static str, Holds)];

const FLIGHTS: &Columns = &[
    ("date", Holds::Time),
    ("delay", Holds::Whole),
    ("distance", Holds::Whole),
    ("origin", Holds::Text),
    ("destination", Holds::Text),
];

const AIRPORTS: &Columns = &[("iata", Holds::Text), ("latitude", Holds::Degrees), ("longitude", Holds::Degrees)];

/// Reads flights from a Parquet or CSV file, depending on its extension.
///
/// The frame has the columns `date` (microseconds), `delay` (minutes), `distance` (miles), `origin` and
/// `destination` (IATA codes), in this order; other columns are ignored.
///
/// # Errors
///
/// [`DataError`] if the file cannot be read, or a column is missing or of another type.
pub fn flights(path: &Path) -> Result<DataFrame, DataError> {
    read(path, FLIGHTS)
}

/// Reads airports from a CSV or Parquet file with `iata`, `latitude` and `longitude`, in degrees.
///
/// # Errors
///
/// As [`flights`]. Airports without a code or a valid position are skipped.
pub fn airports(path: &Path) -> Result<Airports, DataError> {
    let frame = read(path, AIRPORTS)?;
    let columns = || {
        let rows = frame.column("iata")?.str()?.iter();
        let rows = rows.zip(frame.column("latitude")?.f64()?.iter()).zip(frame.column("longitude")?.f64()?.iter());
        let known = rows.filter_map(|((iata, latitude), longitude)| {
            let point = Point { latitude: latitude?, longitude: longitude? };
            let on_earth = point.latitude.abs() <= 90.0 && point.longitude.abs() <= 180.0;
            on_earth.then_some((iata?.to_owned(), point))
        });
        Ok(known.collect())
    };
    columns().map(Airports).map_err(|cause| DataError::unreadable(path, &cause))
}

fn read(path: &Path, columns: &Columns) -> Result<DataFrame, DataError> {
    let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
    let found = match extension.to_str() {
        // Some damaged files make Polars panic instead of failing.
        Some("parquet") => catch_unwind(|| read_parquet(path, columns))
            .unwrap_or_else(|_| Err(DataError::new(path, "is damaged: get a new copy of it")))?,
        Some("csv") => read_csv(path, columns)?,
        _ => return Err(DataError::new(path, "is neither .parquet nor .csv: give one of these")),
    };
    let mut taken = Vec::with_capacity(columns.len());
    for &(name, holds) in columns {
        let column = found.column(name).map_err(|_| DataError::missing(path, name, columns))?;
        if !holds.accepts(column.dtype()) {
            let (found, needed) = (column.dtype(), holds.words());
            let what = format!("has the column `{name}` of type {found}: it must hold {needed}");
            return Err(DataError::new(path, what));
        }
        taken.push(column.strict_cast(&holds.dtype()).map_err(|cause| DataError::unreadable(path, &cause))?);
    }
    DataFrame::new(found.height(), taken).map_err(|cause| DataError::unreadable(path, &cause))
}

fn open(path: &Path) -> Result<File, DataError> {
    let refused = |cause| DataError::new(path, format!("cannot be opened ({cause}): check the path"));
    if path.is_dir() {
        return Err(DataError::new(path, "is a directory: give a .parquet or .csv file"));
    }
    File::open(path).map_err(refused)
}

fn read_parquet(path: &Path, columns: &Columns) -> Result<DataFrame, DataError> {
    let mut reader = ParquetReader::new(open(path)?);
    let unreadable = |cause| DataError::unreadable(path, &cause);
    let schema = reader.schema().map_err(unreadable)?;
    // Checked here for a one-line error, and so that other columns of the file are not read.
    if let Some((name, _)) = columns.iter().find(|(name, _)| schema.get(name).is_none()) {
        return Err(DataError::missing(path, name, columns));
    }
    let names = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
    reader.with_columns(Some(names)).finish().map_err(unreadable)
}

fn read_csv(path: &Path, columns: &Columns) -> Result<DataFrame, DataError> {
    let fields = columns.iter().map(|(name, holds)| Field::new((*name).into(), holds.dtype()));
    let options = CsvReadOptions::default()
        .with_schema_overwrite(Some(Arc::new(fields.collect())))
        .map_parse_options(|parse| parse.with_try_parse_dates(true));
    let reader = options.into_reader_with_file_handle(open(path)?);
    reader.finish().map_err(|cause| DataError::unreadable(path, &cause))
}

/// One line that says what is wrong with a file, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataError {
    path: PathBuf,
    what: String,
}

impl DataError {
    fn new(path: &Path, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), what: what.into() }
    }

    fn missing(path: &Path, name: &str, columns: &Columns) -> Self {
        let all: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        Self::new(path, format!("has no column `{name}`: it must have {}", all.join(", ")))
    }

    fn unreadable(path: &Path, cause: &PolarsError) -> Self {
        // Polars adds hints in further lines.
        let cause = cause.to_string();
        let first = cause.lines().next().unwrap_or_default().trim_end_matches(['.', ':', ' ']);
        Self::new(path, format!("cannot be read ({first}): correct it, or get a new copy of it"))
    }
}

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Escaped, because a file name may contain a line break.
        write!(f, "`{}` {}", self.path.to_string_lossy().escape_debug(), self.what)
    }
}

impl Error for DataError {}
