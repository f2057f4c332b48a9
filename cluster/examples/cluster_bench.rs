//! Measures a local cluster beside the pool of worker processes: the cost of a job, scans by reference, the memory of
//! the driver, and from which size on another machine may pay.
//!
//! `cargo run --release -p fanfold-cluster --example cluster_bench -- [small] [scan] [sink] [even]`

use std::path::Path;
use std::time::{Duration, Instant};

use fanfold::{parallel, prelude::*};
use fanfold_cluster::LocalCluster;
use polars::prelude::*;

/// Rows of a part of the large input; a row has 32 bytes.
const PART_ROWS: usize = 1 << 20;

#[parallel(kind = "process")]
fn total(chunk: DataFrame) -> PolarsResult<f64> {
    chunk.column("a")?.f64()?.sum().map_or_else(|| Ok(0.0), Ok)
}

#[parallel(kind = "process")]
fn add_up(chunk: DataFrame) -> PolarsResult<DataFrame> {
    chunk.lazy().with_columns([(col("a") + col("b") * col("c")).alias("e")]).collect()
}

/// Computes for this many microseconds.
#[parallel(kind = "process")]
fn work(micros: u64) -> u64 {
    let (begun, mut rounds) = (Instant::now(), 0_u64);
    while begun.elapsed() < Duration::from_micros(micros) {
        rounds += 1;
    }
    rounds
}

fn part(seed: usize) -> PolarsResult<DataFrame> {
    let column = |salt: u64| -> Vec<f64> {
        let mix = |n: usize| ((n + seed) as u64 ^ salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (0..PART_ROWS).map(|n| f64::from((mix(n) >> 32) as u32) / 1e3).collect()
    };
    df!("a" => column(1), "b" => column(2), "c" => column(3), "d" => column(4))
}

/// Writes files of about 32 MiB each.
fn write_parts(folder: &Path, parts: usize) -> PolarsResult<u64> {
    let mut bytes = 0;
    for number in 0..parts {
        let path = folder.join(format!("{number:03}.parquet"));
        let file = std::fs::File::create(&path)?;
        ParquetWriter::new(file).with_compression(ParquetCompression::Uncompressed).finish(&mut part(number)?)?;
        bytes += path.metadata()?.len();
    }
    Ok(bytes)
}

/// The best of several runs.
fn best<T>(runs: usize, mut run: impl FnMut() -> T) -> Duration {
    let timed = (0..runs).map(|_| {
        let begun = Instant::now();
        drop(run());
        begun.elapsed()
    });
    timed.min().unwrap_or_default()
}

/// The most memory that this process has had, in MiB.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib >> 10)
}

fn small(cluster: &LocalCluster) -> Result<(), Box<dyn std::error::Error>> {
    let df = part(0)?.head(Some(64_000));
    let there = best(9, || df.par_chunks(64).on(cluster).map_reduce(total::task(), |a, b| a + b));
    let pool: Vec<DataFrame> = (0..64).map(|n| df.slice(n * 1_000, 1_000)).collect();
    let here = best(9, || total::map(pool.clone()).chunk_size(1).collect::<PolarsResult<Vec<f64>>>());
    println!("64 chunks of 1,000 rows: cluster {there:?}, worker processes {here:?}");
    let there = best(3, || df.par_chunks(500).on(cluster).map_reduce(total::task(), |a, b| a + b));
    println!("500 chunks: cluster {there:?}");
    Ok(())
}

fn scan(cluster: &LocalCluster) -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let bytes = write_parts(folder.path(), 8)?;
    let there = best(3, || scan_parquet(folder.path()).par_rows(500_000).on(cluster).map(add_up::task()).collect());
    let total =
        best(3, || scan_parquet(folder.path()).par_rows(500_000).on(cluster).map(total::task()).reduce(|a, b| a + b));
    let here = best(3, || scan_parquet(folder.path()).par_rows(500_000).map(add_up::serial).collect());
    println!("{} MB by reference: collected {there:?}, reduced {total:?}; here collected {here:?}", bytes / 1_000_000);
    Ok(())
}

fn sink(cluster: &LocalCluster) -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    // Another process writes the input, so that it does not count as memory of this one.
    let input = folder.path().join("in");
    std::fs::create_dir(&input)?;
    let own = std::env::current_exe()?;
    let written = std::process::Command::new(own).arg("write").arg(&input).status()?;
    assert!(written.success());
    let bytes: u64 = std::fs::read_dir(&input)?.map(|file| file?.metadata().map(|m| m.len())).sum::<Result<_, _>>()?;
    let begun = Instant::now();
    let scan = scan_parquet(&input).par_rows(500_000).on(cluster).map(add_up::task());
    let rows = scan.sink_parquet(folder.path().join("out"))?;
    println!(
        "{rows} rows, {} MB, from files to files: {:?}; peak memory of the driver {:?} MiB",
        bytes / 1_000_000,
        begun.elapsed(),
        peak_memory()
    );
    Ok(())
}

/// The same work on one worker process for each slot, and on the cluster.
fn even(cluster: &LocalCluster) {
    println!("| 64 calls of | worker processes | cluster |\n|---|---|---|");
    for micros in [100, 1_000, 5_000, 20_000, 100_000] {
        let here = best(3, || work::map(vec![micros; 64]).chunk_size(1).collect::<Vec<u64>>());
        let there = best(3, || work::map(vec![micros; 64]).on(cluster).chunk_size(1).collect::<Vec<u64>>());
        println!("| {:?} | {here:.1?} | {there:.1?} |", Duration::from_micros(micros));
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    fanfold_cluster::init();
    let parts: Vec<String> = std::env::args().skip(1).collect();
    if let [write, folder] = &*parts
        && write == "write"
    {
        write_parts(Path::new(folder), 32)?;
        return Ok(());
    }
    let wants = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    let cluster = LocalCluster::start(2)?;
    if wants("sink") {
        sink(&cluster)?; // first: the peak of memory counts from the start of the process
    }
    if wants("small") {
        small(&cluster)?;
    }
    if wants("scan") {
        scan(&cluster)?;
    }
    if wants("even") {
        even(&cluster);
    }
    Ok(())
}
