//! `overlap`: a rolling window over chunks, each of which sees the rows before its own.
//!
//! `cargo run --release -p fanfold-examples --example rolling`

use std::error::Error;

use fanfold::prelude::*;
use fanfold_examples::data;
use polars::prelude::*;

/// Flights in a window.
const WINDOW: usize = 25;

/// Adds the sum of the delays of each flight and the 24 before it.
fn recent(flights: DataFrame) -> PolarsResult<DataFrame> {
    let window = RollingOptionsFixedWindow { window_size: WINDOW, min_periods: 1, ..Default::default() };
    flights.lazy().with_column(col("delay").rolling_sum(window).alias("recent")).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    // The flights are sorted by date.
    let flights = data::flights(&data::bundled("flights-200k.parquet"))?;
    let whole = recent(flights.clone())?;

    let alone = flights.par_chunks(8).map(recent)?;
    let differs = |out: &DataFrame| -> PolarsResult<u32> {
        Ok(out.column("recent")?.not_equal_missing(whole.column("recent")?)?.sum().unwrap_or(0))
    };
    println!("without an overlap, {} rows differ from the whole frame's", differs(&alone)?);

    let seen = flights.par_chunks(8).overlap(WINDOW - 1).map(recent)?;
    println!("with an overlap of {}, {} do", WINDOW - 1, differs(&seen)?);
    println!("{}", seen.select(["date", "origin", "delay", "recent"])?.tail(Some(3)));
    Ok(())
}
