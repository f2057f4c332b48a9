//! `par_groups`: a custom function for each group, here the build-up of delays at each airport.
//!
//! `cargo run --release -p fanfold-examples --example delays`

use std::error::Error;
use std::time::Instant;

use fanfold::prelude::*;
use fanfold_examples::data;
use polars::prelude::*;

/// The largest backlog of an airport: every departure adds its minutes of delay, and every hour removes a third of the
/// backlog. Each value depends on the previous one, which column expressions compute badly.
#[allow(clippy::needless_pass_by_value, reason = "the signature that Polars expects")]
fn backlog(flights: DataFrame) -> PolarsResult<DataFrame> {
    let dates = flights.column("date")?.datetime()?.physical().iter();
    let (mut backlog, mut worst, mut before) = (0.0_f64, 0.0_f64, None);
    for (date, delay) in dates.zip(flights.column("delay")?.i64()?.iter()) {
        let (Some(date), Some(delay)) = (date, delay) else { continue };
        let hours = before.map_or(0.0, |before| hours_between(before, date));
        backlog = backlog * (2.0_f64 / 3.0).powf(hours) + minutes(delay);
        worst = worst.max(backlog);
        before = Some(date);
    }
    let flights_and_worst = [
        Column::new("flights".into(), [i64::try_from(flights.height()).unwrap_or(i64::MAX)]),
        Column::new("backlog".into(), [worst.round()]),
    ];
    DataFrame::new(1, [flights.column("origin")?.head(Some(1))].into_iter().chain(flights_and_worst).collect())
}

#[allow(clippy::cast_precision_loss, reason = "half a year has fewer than 2^53 microseconds")]
fn hours_between(from: i64, to: i64) -> f64 {
    (to - from) as f64 / 3.6e9
}

#[allow(clippy::cast_precision_loss, reason = "no flight is late by 2^53 minutes")]
fn minutes(delay: i64) -> f64 {
    delay.max(0) as f64
}

fn main() -> Result<(), Box<dyn Error>> {
    let flights = data::flights(&data::bundled("flights-200k.parquet"))?;

    let start = Instant::now();
    let parallel = flights.par_groups(["origin"]).map_groups(backlog)?;
    let took = start.elapsed();

    let start = Instant::now();
    let serial = flights.group_by_stable(["origin"])?.apply(backlog)?;
    println!("{} airports: {took:.1?} in parallel, {:.1?} with Polars alone", parallel.height(), start.elapsed());
    assert_eq!(parallel, serial);

    let worst = parallel.sort(["backlog"], SortMultipleOptions::default().with_order_descending(true))?;
    println!("{}", worst.head(Some(5)));
    Ok(())
}
