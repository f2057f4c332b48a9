//! Chunks of a frame, compared with one thread and with the same work by hand, and the cost of splitting and joining.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use fanfold::Pool;
use fanfold::prelude::*;
use fanfold_benches::{Contest, Report, cpu_time};
use polars::prelude::*;
use polars_core::utils::accumulate_dataframes_vertical;
use rayon::prelude::*;

use crate::Options;

/// The sample of flights that the examples read.
const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/data/flights-200k.parquet");
const ROWS: usize = 3_000_000;
pub(crate) const CHUNKS: usize = 8;
/// A pool whose one thread runs chunks one after the other.
static ONE: Pool = Pool::cpu("one").threads(1);

pub(crate) fn run(options: &Options, report: &mut Report) -> Result<(), String> {
    let flights = flights(options.data.as_deref()).map_err(|error| error.to_string())?;
    println!("frames: {} flights in {CHUNKS} chunks", flights.height());

    let expected = enrich(flights.clone()).map_err(|error| error.to_string())?;
    let parallel = flights.par_chunks(CHUNKS).map(enrich).map_err(|error| error.to_string())?;
    if parallel != expected || by_hand(&flights) != expected {
        return Err("the contenders do not agree".into());
    }
    let contest = Contest::new("a row-wise function")
        .with("one thread", || enrich(flights.clone()))
        .with("fanfold par_chunks(8).map", || flights.par_chunks(CHUNKS).map(enrich))
        .with("by hand: slice, scope, vstack", || by_hand(&flights));
    if let Some(outcome) = report.run(contest) {
        let serial = outcome.ratio("fanfold par_chunks(8).map", "one thread");
        outcome.bar("against one thread, on two cores", serial, 0.55);
        let hand = outcome.ratio("fanfold par_chunks(8).map", "by hand: slice, scope, vstack");
        outcome.bar("against the same by hand", hand, 1.05);
    }

    println!();
    let numbers = numbers(2_000_000);
    let contest = Contest::new("splitting and joining 2M x 4 numbers in 8 chunks")
        .with("fanfold", || numbers.par_chunks(CHUNKS).map(Ok))
        .with("by hand: slice, vstack, one thread", || stack(slices(&numbers)));
    if let Some(outcome) = report.run(contest) {
        let micros = outcome.time("fanfold").as_secs_f64() * 1e6;
        outcome.bar("split, identity map and join, us", micros, 100.0);
    }
    println!();
    inner_parallelism(report, &keyed(2_000_000))
}

/// A closure that uses Polars' own parallelism: a sort, and a lazy group-by.
fn inner_parallelism(report: &mut Report, frame: &DataFrame) -> Result<(), String> {
    type Work = fn(DataFrame) -> PolarsResult<DataFrame>;
    let pool = rayon::ThreadPoolBuilder::new().build().map_err(|error| error.to_string())?;
    let works: [(&str, Work, f64); 2] = [("a sort", sorted, 0.5), ("a lazy group-by", grouped, 0.7)];
    for (name, work, limit) in works {
        let on_rayon =
            |frame: &DataFrame| -> Vec<PolarsResult<DataFrame>> { slices(frame).into_par_iter().map(work).collect() };
        let foreign = || pool.install(|| on_rayon(frame));
        let polars = || polars_core::runtime::RAYON.install(|| on_rayon(frame));
        let fanfold = || frame.par_chunks(CHUNKS).map(work);
        let contest = Contest::new(format!("{name} in each of {CHUNKS} chunks of 2M rows"))
            .with("fanfold par_chunks(8).map", fanfold)
            .with("by hand in a rayon pool", foreign)
            .with("by hand in Polars' pool", polars)
            .with("Polars, the whole frame", || work(frame.clone()));
        let Some(outcome) = report.run(contest) else { continue };
        for peer in ["by hand in a rayon pool", "by hand in Polars' pool"] {
            let wall = outcome.ratio("fanfold par_chunks(8).map", peer);
            outcome.bar(format!("wall time, against the same {peer}"), wall, 1.0);
        }
        let ratio = cpu_ratio(fanfold, foreign);
        outcome.bar("CPU time, against the same by hand in a rayon pool", ratio, limit);
        // The processor time of the same chunks on one thread. Two threads share caches, and on many machines one
        // physical core, so they need more.
        let alone = || frame.par_chunks(CHUNKS).on(&ONE).map(work);
        outcome.bar("CPU time, against the same chunks on one thread", cpu_ratio(fanfold, alone), 1.4);
        println!();
    }
    Ok(())
}

#[allow(clippy::needless_pass_by_value, reason = "the signature of a chunk function")]
fn sorted(chunk: DataFrame) -> PolarsResult<DataFrame> {
    chunk.sort(["x"], SortMultipleOptions::default())
}

fn grouped(chunk: DataFrame) -> PolarsResult<DataFrame> {
    chunk.lazy().group_by([col("key")]).agg([col("x").sum(), col("n").max()]).collect()
}

/// The ratio of the CPU times of two functions: the median of nine, measured in turn, so that other load affects both.
pub(crate) fn cpu_ratio<T, U>(mut one: impl FnMut() -> T, mut other: impl FnMut() -> U) -> f64 {
    let mut ratios: Vec<f64> = (0..9).map(|_| cpu_seconds(&mut one) / cpu_seconds(&mut other)).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    ratios[4]
}

/// The CPU time of this process for ten calls.
fn cpu_seconds<T>(mut work: impl FnMut() -> T) -> f64 {
    let before = cpu_time();
    for _ in 0..10 {
        drop(std::hint::black_box(work()));
    }
    cpu_time().saturating_sub(before).as_secs_f64()
}

/// Rows in pseudo-random order with 5,000 keys.
fn keyed(rows: u32) -> DataFrame {
    let scattered = |n: u32| n.wrapping_mul(2_654_435_769);
    let x: Vec<f64> = (0..rows).map(|n| f64::from(scattered(n))).collect();
    let key: Vec<u32> = (0..rows).map(|n| scattered(n) % 5_000).collect();
    let n: Vec<u32> = (0..rows).collect();
    let m: Vec<i64> = (0..rows).map(i64::from).collect();
    df!("x" => x, "key" => key, "n" => n, "m" => m).expect("equal lengths")
}

/// Three million flights: those of the file, repeated, in one chunk.
pub(crate) fn flights(path: Option<&str>) -> PolarsResult<DataFrame> {
    let file = std::fs::File::open(path.unwrap_or(SAMPLE))?;
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

/// A cost from the distance's angle on the globe and from the delay, computed row by row without Polars' parallelism.
pub(crate) fn enrich(mut chunk: DataFrame) -> PolarsResult<DataFrame> {
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

pub(crate) fn numbers(rows: i64) -> DataFrame {
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
