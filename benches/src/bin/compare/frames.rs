//! Chunks of a frame: against one thread, against the same by hand, and what cutting and joining alone costs.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use fanfold::prelude::*;
use fanfold_benches::{Contest, verdict};
use polars::prelude::*;
use polars_core::utils::accumulate_dataframes_vertical;

use crate::Options;

/// The sample of flights that the examples read.
const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/data/flights-200k.parquet");
const ROWS: usize = 3_000_000;
const CHUNKS: usize = 8;

pub(crate) fn run(options: &Options) -> Result<(), String> {
    let flights = flights(options.data.as_deref().unwrap_or(SAMPLE)).map_err(|error| error.to_string())?;
    println!("frames: {} flights in {CHUNKS} chunks", flights.height());

    let expected = enrich(flights.clone()).map_err(|error| error.to_string())?;
    let parallel = flights.par_chunks(CHUNKS).map(enrich).map_err(|error| error.to_string())?;
    if parallel != expected || by_hand(&flights) != expected {
        return Err("the contenders do not agree".into());
    }
    let outcome = Contest::new("a row-wise function")
        .with("one thread", || enrich(flights.clone()))
        .with("fanfold par_chunks(8).map", || flights.par_chunks(CHUNKS).map(enrich))
        .with("by hand: slice, scope, vstack", || by_hand(&flights))
        .run();
    print!("{}", outcome.table());
    let serial = outcome.ratio("fanfold par_chunks(8).map", "one thread");
    print!("{}", verdict("against one thread, on two cores", serial, 0.55));
    let hand = outcome.ratio("fanfold par_chunks(8).map", "by hand: slice, scope, vstack");
    print!("{}", verdict("against the same by hand", hand, 1.05));

    println!();
    let numbers = numbers(2_000_000);
    let outcome = Contest::new("cutting and joining 2M x 4 in 8 chunks")
        .with("fanfold", || numbers.par_chunks(CHUNKS).map(Ok))
        .with("by hand: slice, vstack, one thread", || stack(slices(&numbers)))
        .run();
    print!("{}", outcome.table());
    let micros = outcome.time("fanfold").as_secs_f64() * 1e6;
    print!("{}", verdict("cut, map to itself, join, in us", micros, 100.0));
    Ok(())
}

/// Three million flights: the file's, again and again as often as that takes, in one piece.
fn flights(path: &str) -> PolarsResult<DataFrame> {
    let file = std::fs::File::open(path)?;
    let sample = ParquetReader::new(file).finish()?;
    let times = ROWS.div_ceil(sample.height().max(1));
    let mut all = accumulate_dataframes_vertical(std::iter::repeat_n(sample, times))?.slice(0, ROWS);
    all.rechunk_mut();
    let distance = all.column("distance")?.cast(&DataType::Float64)?;
    let delay = all.column("delay")?.cast(&DataType::Float64)?;
    all.with_column(distance)?;
    all.with_column(delay)?;
    Ok(all)
}

/// The angle of the distance on the globe, and a cost of the delay that grows with it: no Polars parallelism.
fn enrich(mut chunk: DataFrame) -> PolarsResult<DataFrame> {
    let columns = [chunk.column("distance")?.f64()?, chunk.column("delay")?.f64()?];
    let cost: Float64Chunked = columns[0]
        .iter()
        .zip(columns[1].iter())
        .map(|(miles, minutes)| {
            let angle = miles? / 3_958.8;
            let late = minutes?.max(0.0);
            Some((angle.sin().powi(2) + angle.cos()).sqrt() * (late + 1.0).ln() * late.powf(1.3))
        })
        .collect();
    chunk.with_column(cost.with_name("cost".into()).into_column())?;
    Ok(chunk)
}

fn numbers(rows: i64) -> DataFrame {
    let column = |name: &str| Series::new(name.into(), (0..rows).collect::<Vec<_>>()).into_column();
    DataFrame::new_infer_height(["a", "b", "c", "d"].map(column).to_vec()).expect("equal lengths")
}

/// Balanced slices of the rows.
fn slices(frame: &DataFrame) -> Vec<DataFrame> {
    let height = frame.height();
    let at = |chunk: usize| i64::try_from(height * chunk / CHUNKS).expect("rows fit");
    (0..CHUNKS).map(|c| frame.slice(at(c), usize::try_from(at(c + 1) - at(c)).expect("forward"))).collect()
}

fn stack(parts: Vec<DataFrame>) -> DataFrame {
    accumulate_dataframes_vertical(parts).expect("one schema")
}

/// What a user would write: slices from a counter, a thread a core, and the results in order.
fn by_hand(frame: &DataFrame) -> DataFrame {
    let slices = slices(frame);
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<DataFrame>>> = slices.iter().map(|_| Mutex::new(None)).collect();
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let work = || loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let Some(slice) = slices.get(index) else { break };
        let result = enrich(slice.clone()).expect("the columns are there");
        *results[index].lock().expect("no panic") = Some(result);
    };
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    let parts = results.into_iter().map(|slot| slot.into_inner().expect("no panic").expect("all ran"));
    stack(parts.collect())
}
