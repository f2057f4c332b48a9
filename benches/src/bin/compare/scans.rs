//! Files larger than memory: a Parquet file of 1.4 GB mapped to another one, in a process of its own, compared with
//! Polars' `map` and `sink_parquet`, by time and by peak resident memory.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fanfold::Scan;
use fanfold::prelude::*;
use fanfold_benches::{Contest, Outcome, Report};
use polars::prelude::*;

use crate::Options;
use crate::frames::{enrich, flights};

const CHILD: &str = "--scan-child";
/// Rows of 88 bytes each: 1.4 GB.
const ROWS: usize = 16_000_000;
const GROUP: usize = 250_000;
const ROUNDS: usize = 3;

pub(crate) fn run(options: &Options, report: &mut Report) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let input = folder.path().join("in.parquet");
    write(&input, options.data.as_deref()).map_err(|error| error.to_string())?;
    let size = fs::metadata(&input).map_err(|error| error.to_string())?.len() >> 20;
    println!("scans: {ROWS} rows, 1.4 GB in memory, {size} MiB on disk");
    let mut best = Vec::new();
    for contender in ["polars", "fanfold"] {
        let output = folder.path().join(format!("{contender}.parquet"));
        let mut runs = Vec::new();
        for _ in 0..ROUNDS {
            runs.push(measured(contender, &input, &output)?);
        }
        runs.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        let run = runs.swap_remove(ROUNDS / 2);
        let Run { seconds, resident, anonymous } = run;
        println!(
            "  {contender:10} {seconds:6.2} s, at most {resident:.0} MiB resident, {anonymous:.0} MiB of them anonymous"
        );
        best.push(run);
    }
    let [polars, fanfold] = &best[..] else { return Err("a contender is missing".into()) };
    let times = [("Polars map and sink_parquet", polars), ("fanfold map and sink_parquet", fanfold)]
        .map(|(name, run)| (name.to_owned(), Duration::from_secs_f64(run.seconds)));
    let outcome = report.keep(Outcome::measured("a Parquet file (1.4 GB in memory) mapped to another file", times));
    outcome.bar("map and sink, against Polars' map and sink", fanfold.seconds / polars.seconds, 1.3);
    outcome.bar("resident memory, MB", fanfold.resident * 1.048_576, 250.0);
    small_chunks(folder.path(), options.data.as_deref(), report).map_err(|error| error.to_string())
}

/// Files read in chunks that are much smaller than their batches or row groups.
fn small_chunks(folder: &Path, data: Option<&str>, report: &mut Report) -> PolarsResult<()> {
    let mut flights = flights(data)?;
    let (ipc, parquet) = (folder.join("flights.ipc"), folder.join("flights.parquet"));
    IpcWriter::new(File::create(&ipc)?).finish(&mut flights)?;
    let writer = ParquetWriter::new(File::create(&parquet)?).with_row_group_size(Some(flights.height()));
    writer.with_compression(ParquetCompression::Zstd(None)).finish(&mut flights)?;
    let by_path = |path: &Path| PlRefPath::new(path.to_str().unwrap_or_default());
    let all = |lazy: PolarsResult<LazyFrame>| -> PolarsResult<usize> {
        let frame = lazy?.collect_with_engine(Engine::Streaming)?.unwrap_single();
        Ok(frame.height())
    };
    let rows = |scan: Scan| scan.map(Ok).collect().map(|frame| frame.height());
    let contest = Contest::new("an IPC file in chunks of 1,000 rows")
        .with("Polars scan_ipc", || {
            all(LazyFrame::scan_ipc(by_path(&ipc), IpcScanOptions::default(), UnifiedScanArgs::default()))
        })
        .with("fanfold scan_ipc", || rows(scan_ipc(&ipc).par_rows(1_000)));
    if let Some(outcome) = report.run(contest) {
        outcome.bar("against Polars' scan", outcome.ratio("fanfold scan_ipc", "Polars scan_ipc"), 1.3);
    }
    let contest = Contest::new("a compressed row group in chunks of 100,000 rows")
        .with("Polars scan_parquet", || all(LazyFrame::scan_parquet(by_path(&parquet), ScanArgsParquet::default())))
        .with("fanfold scan_parquet", || rows(scan_parquet(&parquet).par_rows(100_000)));
    if let Some(outcome) = report.run(contest) {
        outcome.bar("against Polars' scan", outcome.ratio("fanfold scan_parquet", "Polars scan_parquet"), 1.3);
    }
    Ok(())
}

struct Run {
    seconds: f64,
    resident: f64,
    anonymous: f64,
}

fn measured(contender: &str, input: &Path, output: &Path) -> Result<Run, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let child = Command::new(program).arg(CHILD).arg(contender).args([input, output]).output();
    let child = child.map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&child.stdout);
    let numbers: Vec<f64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match numbers[..] {
        [seconds, resident, anonymous] => Ok(Run { seconds, resident, anonymous }),
        _ => Err(format!("{contender}: {said} {}", String::from_utf8_lossy(&child.stderr))),
    }
}

/// The body of the child process of one run.
pub(crate) fn child(mut args: impl Iterator<Item = String>) -> Option<ExitCode> {
    if args.next()? != CHILD {
        return None;
    }
    let (contender, input, output) = (args.next()?, args.next()?, args.next()?);
    let watched = std::thread::spawn(watch);
    let start = Instant::now();
    let done = match contender.as_str() {
        "polars" => by_polars(&input, &output).map_err(|error| error.to_string()),
        // Polars does not wait for the disk either, so `sync` is off.
        _ => scan_parquet(&input).map(enrich).sync(false).sink_parquet(&output).map_err(|error| error.to_string()),
    };
    let seconds = start.elapsed().as_secs_f64();
    if let Err(error) = done {
        eprintln!("{error}");
        return Some(ExitCode::FAILURE);
    }
    DONE.store(true, std::sync::atomic::Ordering::Relaxed);
    let anonymous = watched.join().unwrap_or(0.0);
    println!("{seconds} {} {anonymous}", status("VmHWM:"));
    Some(ExitCode::SUCCESS)
}

static DONE: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// The peak of anonymous memory, polled every 5 ms.
fn watch() -> f64 {
    let mut most: f64 = 0.0;
    while !DONE.load(std::sync::atomic::Ordering::Relaxed) {
        most = most.max(status("RssAnon:"));
        std::thread::sleep(Duration::from_millis(5));
    }
    most
}

/// A line of this process's status, in MiB.
fn status(line: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let found = status.lines().find_map(|text| text.strip_prefix(line));
    found.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0) / 1_024.0
}

fn by_polars(input: &str, output: &str) -> PolarsResult<()> {
    let lazy = LazyFrame::scan_parquet(PlRefPath::new(input), ScanArgsParquet::default())?;
    let schema = |input: &Schema| {
        let mut schema = input.clone();
        schema.insert("cost".into(), DataType::Float64);
        Ok(Arc::new(schema))
    };
    let mapped = lazy.map(enrich, OptFlags::STREAMING, Some(Arc::new(schema)), None);
    let target = SinkDestination::File { target: SinkTarget::Path(PlRefPath::new(output)) };
    let format = FileWriteFormat::Parquet(Arc::new(ParquetWriteOptions::default()));
    mapped.sink(target, format, UnifiedSinkArgs::default())?.collect_with_engine(Engine::Streaming).map(drop)
}

/// The flights, repeated, with four columns of noise that does not compress.
fn write(path: &Path, data: Option<&str>) -> PolarsResult<()> {
    let flights = flights(data)?;
    let mut state = 1_u64;
    let mut noise = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from_bits((state >> 12) | 0x3ff0_0000_0000_0000)
    };
    let mut writer = None;
    let mut start = 0;
    for _ in 0..ROWS / GROUP {
        let mut group = flights.slice(i64::try_from(start).unwrap_or(0), GROUP);
        start = (start + GROUP) % (flights.height() - GROUP);
        for column in ["a", "b", "c", "d"] {
            group.with_column(Column::new(column.into(), (0..GROUP).map(|_| noise()).collect::<Vec<f64>>()))?;
        }
        group.rechunk_mut();
        if writer.is_none() {
            writer = Some(ParquetWriter::new(File::create(path)?).batched(group.schema())?);
        }
        if let Some(writer) = &mut writer {
            writer.write_batch(&group)?;
        }
    }
    writer.map_or(Ok(()), |writer| writer.finish().map(drop))
}
