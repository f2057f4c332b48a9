//! A frame is sent in chunks to worker processes through shared memory, and comes back as one frame.
//!
//! `cargo run --release -p fanfold-examples --example process_frame`

use std::process;
use std::time::Instant;

use fanfold::parallel;
use polars::prelude::*;

/// The frame is split by rows. Each chunk is copied into shared memory once, and the worker uses it in place.
#[parallel(kind = "process", chunks = 4)]
fn squares(mut frame: DataFrame) -> PolarsResult<DataFrame> {
    let squares = frame.column("x")? * frame.column("x")?;
    let worker = Column::new("worker".into(), vec![process::id(); frame.height()]);
    frame.with_column(squares?.with_name("square".into()))?;
    frame.with_column(worker)?;
    Ok(frame)
}

#[fanfold::main]
fn main() -> PolarsResult<()> {
    let frame = df!("x" => (0..1_000_000).map(f64::from).collect::<Vec<_>>())?;
    let start = Instant::now();
    let out = squares(frame)?;
    println!("{} rows in {:.1?}", out.height(), start.elapsed());
    println!("sum of squares: {:?}", out.column("square")?.f64()?.sum());
    let workers = out.column("worker")?.as_materialized_series().n_unique()?;
    println!("processes that took part: {workers}");
    let here = out.column("worker")?.u32()?.iter().any(|pid| pid == Some(process::id()));
    println!("this one among them: {here}");
    Ok(())
}
