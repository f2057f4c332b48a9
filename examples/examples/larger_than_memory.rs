//! A Parquet file larger than memory, mapped chunk by chunk to another file.
//!
//! `cargo run --release -p fanfold-examples --example larger_than_memory`; with a limit on its memory, on Linux:
//! `(ulimit -d 400000; cargo run ..)`

use std::error::Error;
use std::fs;

use fanfold::prelude::*;
use fanfold_examples::data;
use polars::prelude::*;

/// Adds a text of about 1,300 bytes to each flight, which makes the file large with few rows.
fn with_reports(mut flights: DataFrame) -> PolarsResult<DataFrame> {
    let columns = flights.column("origin")?.str()?.iter().zip(flights.column("destination")?.str()?.iter());
    let reports: StringChunked = columns
        .map(|(from, to)| Some(format!("the flight from {} to {} has left the gate. ", from?, to?).repeat(28)))
        .collect();
    flights.with_column(reports.with_name("report".into()).into_column())?;
    Ok(flights)
}

/// Counts how often each report names its origin.
fn counted(mut flights: DataFrame) -> PolarsResult<DataFrame> {
    let columns = flights.column("origin")?.str()?.iter().zip(flights.column("report")?.str()?.iter());
    let times: UInt32Chunked =
        columns.map(|(origin, report)| u32::try_from(report?.matches(origin?).count()).ok()).collect();
    flights.with_column(times.with_name("times".into()).into_column())?;
    flights.drop("report")
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let (large, small) = (folder.path().join("large.parquet"), folder.path().join("small.parquet"));

    // The file is never in memory as a whole, not even when it is created: it contains the flights of the sample three
    // times, with reports.
    let sample = PlRefPath::try_from_path(&data::bundled("flights-200k.parquet"))?;
    let once = LazyFrame::scan_parquet(sample, ScanArgsParquet::default())?;
    let flights = concat([once.clone(), once.clone(), once], UnionArgs::default())?;
    flights.par_rows(8_192).progress("making").map(with_reports).sink_parquet(&large)?;

    let bytes = scan_parquet(&large).map_reduce(|chunk| Ok(chunk.estimated_size()), |a, b| a + b)?;
    println!("in memory the file would take {} MB", bytes / 1_000_000);

    scan_parquet(&large).par_rows(8_192).progress("mapping").map(counted).sink_parquet(&small)?;
    let origins = |chunk: DataFrame| Ok(chunk.column("times")?.u32()?.iter().flatten().map(u64::from).sum::<u64>());
    let origins = scan_parquet(&small).map_reduce(origins, |a, b| a + b)?;
    let reports = scan_parquet(&small).map_reduce(|chunk| Ok(chunk.height()), |a, b| a + b)?;
    println!("{reports} reports name their origins {origins} times");
    println!("{} temporary files are left", fs::read_dir(&folder)?.count() - 2);
    Ok(())
}
