//! Rows and groups, compared with Polars: typed rows, a function of a column's numbers, and a custom function for each
//! group.

use fanfold::prelude::*;
use fanfold_benches::{Contest, Report};
use polars::frame::row::Row;
use polars::prelude::*;
use serde::Deserialize;

use crate::Options;
use crate::frames::{CHUNKS, cpu_ratio, flights, numbers};

pub(crate) fn run(options: &Options, report: &mut Report) -> Result<(), String> {
    let flights = flights(options.data.as_deref()).map_err(|error| error.to_string())?;
    typed(report, &flights.slice(0, 300_000));
    column(report, &flights);
    groups(report, &flights.slice(0, 300_000))?;
    chunks(report);
    Ok(())
}

#[derive(Deserialize)]
struct Flight<'a> {
    delay: f64,
    distance: f64,
    origin: &'a str,
    destination: &'a str,
}

/// A value computed from every field.
fn cost(delay: f64, distance: f64, origin: &str, destination: &str) -> f64 {
    delay * distance + if origin < destination { 1.0 } else { 0.0 }
}

fn typed(report: &mut Report, flights: &DataFrame) {
    let flights = &flights.select(["delay", "distance", "origin", "destination"]).expect("the columns are there");
    let taken = |row: &Row| {
        let [AnyValue::Float64(delay), AnyValue::Float64(distance), AnyValue::String(a), AnyValue::String(b)] =
            row.0[..]
        else {
            unreachable!("the columns have these types")
        };
        cost(delay, distance, a, b)
    };
    let by_row = || -> Vec<f64> {
        (0..flights.height()).map(|index| taken(&flights.get_row(index).expect("there is one"))).collect()
    };
    let by_row_amortized = || -> Vec<f64> {
        let mut row = flights.get_row(0).expect("there is one");
        let costs = (0..flights.height()).map(|index| {
            flights.get_row_amortized(index, &mut row).expect("there is one");
            taken(&row)
        });
        costs.collect()
    };
    let typed = |chunks: usize| -> Vec<f64> {
        let cost = |f: Flight| cost(f.delay, f.distance, f.origin, f.destination);
        flights.par_chunks(chunks).map_rows(cost).expect("rows fit")
    };
    assert_eq!(typed(CHUNKS), by_row(), "the contenders agree");
    let contest = Contest::new("300,000 rows of four columns as values")
        .with("Polars get_row", by_row)
        .with("Polars get_row_amortized", by_row_amortized)
        .with("fanfold map_rows, one chunk", || typed(1))
        .with("fanfold map_rows, eight chunks", || typed(CHUNKS));
    if let Some(outcome) = report.run(contest) {
        let serial = outcome.ratio("fanfold map_rows, one chunk", "Polars get_row");
        outcome.bar("typed rows on one thread against get_row", serial, 0.2);
        outcome.bar("CPU time of typed rows against get_row", cpu_ratio(|| typed(1), by_row), 0.2);
    }
    println!();
}

fn column(report: &mut Report, flights: &DataFrame) {
    let values = || flights.column("distance").and_then(Column::f64).expect("floats");
    let f = |miles: f64| (miles / 3_958.8).sin().mul_add(2.0, 1.0);
    let contest = Contest::new("a function of 3M numbers")
        .with("Polars apply_values, one thread", || values().apply_values(f))
        .with("fanfold par_column", || flights.par_column("distance").map(f));
    if let Some(outcome) = report.run(contest) {
        let ratio = outcome.ratio("fanfold par_column", "Polars apply_values, one thread");
        outcome.bar("a column's function against one thread, on two cores", ratio, 0.6);
    }
    println!();
}

/// The maximum and spread of an airport's smoothed delay, which column expressions compute badly.
#[allow(clippy::needless_pass_by_value, reason = "the signature that Polars expects")]
fn smoothed(group: DataFrame) -> PolarsResult<DataFrame> {
    let mut level = 0.0;
    let delays = group.column("delay")?.f64()?;
    let smoothed: Float64Chunked = delays
        .iter()
        .map(|delay| {
            level = 0.9 * level + 0.1 * delay?.clamp(-30.0, 600.0);
            Some((level.abs() + 1.0).ln().mul_add(level.signum(), level.sin()))
        })
        .collect();
    let worst = smoothed.max().unwrap_or(0.0);
    let spread = smoothed.std(1).unwrap_or(0.0);
    let origin = group.column("origin")?.head(Some(1));
    DataFrame::new(1, vec![origin, Column::new("worst".into(), [worst]), Column::new("spread".into(), [spread])])
}

fn groups(report: &mut Report, flights: &DataFrame) -> Result<(), String> {
    let serial = || flights.group_by_stable(["origin"]).and_then(|groups| groups.apply(smoothed));
    let parallel = || flights.par_groups(["origin"]).map_groups(smoothed);
    let (one, other) = (serial().map_err(|e| e.to_string())?, parallel().map_err(|e| e.to_string())?);
    if !one.equals_missing(&other) {
        return Err(format!("the contenders do not agree: {one} and {other}"));
    }
    let contest = Contest::new("a custom function for each of the origins of 300,000 flights")
        .with("Polars GroupBy::apply", serial)
        .with("fanfold par_groups, map_groups", parallel);
    if let Some(outcome) = report.run(contest) {
        let ratio = outcome.ratio("fanfold par_groups, map_groups", "Polars GroupBy::apply");
        outcome.bar("groups against Polars' serial function, on two cores", ratio, 1.0 / 1.7);
        // A limit for machines whose cores are not idle.
        outcome.bar("CPU time of groups against Polars' serial function", cpu_ratio(parallel, serial), 2.0 / 1.7);
    }
    println!();
    Ok(())
}

fn chunks(report: &mut Report) {
    let numbers = numbers(2_000_000);
    let contest = Contest::new("2M x 4 numbers in 4,096 chunks").with("fanfold", || numbers.par_chunks(4_096).map(Ok));
    if let Some(outcome) = report.run(contest) {
        let micros = outcome.time("fanfold").as_secs_f64() * 1e6 / 4_096.0;
        outcome.bar("overhead of each chunk, us", micros, 3.0);
    }
    println!();
}
