//! A model over flights on two executors of a local cluster, compared with the same on one machine.
//!
//! `cargo run -p fanfold-cluster --example cluster_flights`

use std::time::Instant;

use fanfold::{parallel, prelude::*};
use fanfold_cluster::LocalCluster;
use polars::prelude::*;

/// Flights in the example.
const FLIGHTS: usize = 400_000;

/// Predicts the delay at the destination of each flight, by a linear model of the delay at the origin, the distance and
/// the hour.
#[parallel(kind = "cluster")]
fn predict(flights: DataFrame) -> PolarsResult<DataFrame> {
    let made_up = col("distance") / lit(1_000.0);
    let evening = when(col("hour").gt_eq(lit(17))).then(lit(4.5)).otherwise(lit(0.0));
    let delay = col("departure_delay") * lit(0.93) - made_up + evening;
    flights.lazy().with_columns([delay.alias("predicted_delay")]).collect()
}

/// Flights that look like real ones, the same in each run.
fn flights() -> PolarsResult<DataFrame> {
    let numbers = |seed: u64, below: u64| -> Vec<i64> {
        let mix = |n: usize| ((n as u64 + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) % below;
        (0..FLIGHTS).map(|n| mix(n).cast_signed()).collect()
    };
    let carriers: Vec<&str> = (0..FLIGHTS).map(|n| ["AA", "DL", "UA", "B6", "WN"][n % 5]).collect();
    df!(
        "carrier" => carriers,
        "hour" => numbers(1, 24),
        "distance" => numbers(2, 4_900),
        "departure_delay" => numbers(3, 120),
    )
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    fanfold_cluster::init(); // first: the scheduler and the executors are this program too
    let flights = flights()?;

    let begun = Instant::now();
    let cluster = LocalCluster::start(2)?;
    println!("a scheduler and two executors after {:?}", begun.elapsed());

    let begun = Instant::now();
    let there = flights.par_chunks(16).on(&cluster).map(predict::task())?;
    println!("{} flights on the cluster: {:?}", there.height(), begun.elapsed());

    let begun = Instant::now();
    let here = flights.par_chunks(16).map(predict::serial)?;
    println!("{} flights on this machine's threads: {:?}", here.height(), begun.elapsed());
    assert_eq!(there, here);

    // The executors read the file, and write the results, by themselves.
    let folder = tempfile::tempdir()?;
    let (input, output) = (folder.path().join("flights.parquet"), folder.path().join("predicted"));
    ParquetWriter::new(std::fs::File::create(&input)?).finish(&mut flights.clone())?;
    let begun = Instant::now();
    let rows = scan_parquet(&input).par_rows(50_000).on(&cluster).map(predict::task()).sink_parquet(&output)?;
    println!("{rows} flights from file to files: {:?}", begun.elapsed());
    assert_eq!(scan_parquet(&output).map(Ok).collect()?, here);
    println!("the results are the same");
    Ok(())
}
