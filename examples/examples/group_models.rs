//! A model for each group: a line through the delays of each airport, fitted by a plain Rust function.
//!
//! `cargo run --release -p fanfold-examples --example group_models`

use std::error::Error;

use fanfold::prelude::*;
use fanfold_examples::data;
use polars::prelude::*;
use serde::Serialize;

/// The row of each group in the result.
#[derive(Serialize)]
struct Model {
    origin: String,
    flights: u64,
    /// Minutes of delay at the beginning, and how many are added in a day.
    minutes: f64,
    per_day: f64,
}

/// The line with the least squares.
#[allow(clippy::cast_precision_loss, reason = "times and delays have fewer than 53 bits")]
#[allow(clippy::needless_pass_by_value, reason = "a group is a frame of its own")]
fn fit(flights: DataFrame) -> PolarsResult<Model> {
    let origin = flights.column("origin")?.str()?.get(0).unwrap_or_default().to_owned();
    let dates = flights.column("date")?.datetime()?.physical();
    let first = dates.min().unwrap_or(0);
    let points = dates.iter().zip(flights.column("delay")?.i64()?.iter());
    let points = points.filter_map(|(date, delay)| Some(((date? - first) as f64 / 8.64e10, delay? as f64)));
    let (mut n, mut x, mut y, mut xx, mut xy) = (0.0_f64, 0.0, 0.0, 0.0, 0.0);
    for (day, delay) in points {
        (n, x, y, xx, xy) = (n + 1.0, x + day, y + delay, xx + day * day, xy + day * delay);
    }
    let spread = n * xx - x * x;
    let per_day = if spread > 0.0 { (n * xy - x * y) / spread } else { 0.0 };
    let minutes = if n > 0.0 { (y - per_day * x) / n } else { 0.0 };
    Ok(Model { origin, flights: flights.height() as u64, minutes, per_day })
}

fn main() -> Result<(), Box<dyn Error>> {
    let flights = data::flights(&data::bundled("flights-200k.parquet"))?;
    // All rows of an airport are in one call, and many airports are fitted at the same time.
    let models: DataFrame = flights.par_groups(["origin"]).map_groups(fit)?;
    println!("{} models", models.height());
    let largest = models.sort(["flights"], SortMultipleOptions::default().with_order_descending(true))?;
    println!("{}", largest.head(Some(5)));
    Ok(())
}
