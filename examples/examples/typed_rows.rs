//! `map_rows`: rows as values of your own types, a struct in and a struct out.
//!
//! `cargo run --release -p fanfold-examples --example typed_rows`

use std::error::Error;

use fanfold::prelude::*;
use fanfold_examples::data::{self, Airports};
use fanfold_examples::delay;
use polars::prelude::*;
use serde::{Deserialize, Serialize};

/// A flight's columns by name. Texts are borrowed from the frame; a nullable column is an `Option`.
#[derive(Deserialize)]
struct Flight<'a> {
    origin: &'a str,
    destination: &'a str,
    delay: Option<i64>,
    /// The stored value of the date: microseconds since 1970.
    date: Option<i64>,
}

/// A row of the result.
#[derive(Serialize)]
struct Judged<'a> {
    origin: &'a str,
    miles: Option<f64>,
    dollars: Option<f64>,
    refund: bool,
}

/// Flights with a delay of more than this many minutes are refunded.
const REFUNDED_AFTER: i64 = 180;

fn judge<'a>(airports: &Airports, flight: &Flight<'a>) -> Judged<'a> {
    let route = airports.route(flight.origin, flight.destination);
    let priced = route.zip(flight.delay).zip(flight.date);
    Judged {
        origin: flight.origin,
        miles: route.map(|route| route.miles),
        dollars: priced.map(|((route, late), date)| delay::cost(late, route.haul, delay::hour(date))),
        refund: flight.delay.is_some_and(|late| late > REFUNDED_AFTER),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let flights = data::flights(&data::bundled("flights-200k.parquet"))?;
    let airports = data::airports(&data::bundled("airports.csv"))?;

    // The type of the result selects a `DataFrame` of serialized rows; a `Vec<Judged>` would be possible too.
    let judged: DataFrame = flights.par().map_rows(|flight| judge(&airports, &flight))?;
    println!("{}", judged.head(Some(3)));

    let refunds: Vec<bool> = flights.par().map_rows(|flight| judge(&airports, &flight).refund)?;
    println!("{} of {} flights are refunded", refunds.iter().filter(|refund| **refund).count(), flights.height());

    // An error names the row that does not fit, and the reason.
    let nulls = df!("origin" => [Some("JFK"), None], "destination" => ["LAX", "JFK"])?;
    let refused = nulls.par().map_rows::<_, _, Vec<usize>>(|flight: Flight| flight.origin.len());
    println!("{}", refused.expect_err("an origin is null"));
    Ok(())
}
