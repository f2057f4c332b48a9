//! Fanfold in five minutes: the same calls, serially and on all cores.
//!
//! `cargo run --profile quickstart -p fanfold-quickstart`; see `--help` for your own flights, and for a picture of the
//! workers.

use std::env;
use std::error::Error;
use std::fs::File;
use std::hint::black_box;
use std::io::{self, Write};
use std::ops::Range;
use std::panic;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use fanfold::parallel;
use fanfold_quickstart::data::{self, Airports};
use fanfold_quickstart::delay;
use fanfold_quickstart::timing::{Times, compare};
use polars::prelude::*;

const HELP: &str = "\
Fanfold in five minutes: primes, a sum and a DataFrame, each serially and in parallel.

Usage: quickstart [--data FILE] [--report FILE]

Options:
  --data FILE    flights to read instead of those that come with the example: a .parquet or .csv file
                 with the columns date, delay (minutes), distance (miles), origin and destination
  --report FILE  run the three calls once more, print what each worker did, and write it to FILE: a
                 picture if it ends in .svg, a trace for ui.perfetto.dev if it ends in .json
  --help         print this text";

/// All but the last are prime.
static NUMBERS: [u64; 6] = [
    112_272_535_095_293,
    112_582_705_942_171,
    112_272_535_095_293,
    115_280_095_190_773,
    115_797_848_077_099,
    1_099_726_899_285_419,
];

/// One number is one task: `is_prime::map(&NUMBERS)` runs it on all of them.
#[parallel(kind = "cpu")]
fn is_prime(n: u64) -> bool {
    if n < 4 || n.is_multiple_of(2) {
        return n == 2 || n == 3;
    }
    (3..=n.isqrt()).step_by(2).all(|divisor| !n.is_multiple_of(divisor))
}

/// The sum of all digits of some numbers. `digit_sum(0..100)` is split in two; `add` combines the two sums.
#[parallel(kind = "cpu", chunks = 2, reduce = add)]
fn digit_sum(numbers: Range<u64>) -> u64 {
    let mut total = 0;
    for mut number in numbers {
        while number > 0 {
            total += number % 10;
            number /= 10;
        }
    }
    total
}

fn add(a: u64, b: u64) -> u64 {
    a + b
}

/// Adds route and delay cost to each flight. The call splits the frame by rows into a few chunks for each core and
/// stacks the results in row order; all chunks borrow `airports`.
#[parallel(kind = "cpu", chunks = "auto", progress = "flights")]
fn enrich(mut flights: DataFrame, airports: &Airports) -> PolarsResult<DataFrame> {
    let rows = flights.height();
    let (mut miles, mut bearing, mut minutes) =
        (Vec::with_capacity(rows), Vec::with_capacity(rows), Vec::with_capacity(rows));
    let (mut haul, mut cost) = (Vec::with_capacity(rows), Vec::with_capacity(rows));

    let places = flights.column("origin")?.str()?.iter().zip(flights.column("destination")?.str()?.iter());
    let times = flights.column("date")?.datetime()?.physical().iter().zip(flights.column("delay")?.i64()?.iter());
    for ((origin, destination), (micros, late)) in places.zip(times) {
        // An unknown airport or delay makes the values that depend on it null.
        let route = origin.zip(destination).and_then(|(from, to)| airports.route(from, to));
        miles.push(route.map(|r| r.miles));
        bearing.push(route.map(|r| r.bearing));
        minutes.push(route.map(|r| r.block_minutes));
        haul.push(route.map(|r| r.haul.name()));
        let priced = route.zip(late).zip(micros);
        cost.push(priced.map(|((route, late), micros)| delay::cost(late, route.haul, delay::hour(micros))));
    }
    flights.with_column(Column::new("miles".into(), miles))?;
    flights.with_column(Column::new("bearing".into(), bearing))?;
    flights.with_column(Column::new("minutes".into(), minutes))?;
    flights.with_column(Column::new("haul".into(), haul))?;
    flights.with_column(Column::new("dollars".into(), cost))?;
    Ok(flights)
}

/// [`enrich`] without its progress bar, which every timed run would draw again. `serial` is the plain function.
#[parallel(kind = "cpu", chunks = "auto")]
fn enrich_quietly(flights: DataFrame, airports: &Airports) -> PolarsResult<DataFrame> {
    enrich::serial(flights, airports)
}

fn main() -> ExitCode {
    match run(&mut io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS, // as in `quickstart | head`
        Err(error) => {
            let what = if error.is::<io::Error>() { "cannot write to standard output: " } else { "" };
            eprintln!("quickstart: {what}{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let Some(Arguments { path, report }) = arguments()? else {
        return Ok(writeln!(out, "{HELP}")?);
    };
    // Created first: what cannot be written is told before the work.
    let report = report.map(|path| create(&path).map(|file| (path, file))).transpose()?;
    let (flights, airports) = read(&path)?;
    let threads = thread::available_parallelism().map_or(1, usize::from);
    writeln!(out, "Fanfold quickstart: serial against parallel on {threads} threads\n")?;

    writeln!(out, "1. A function over many items: is_prime::map(&NUMBERS)\n")?;
    let (serial, parallel, primes_took) = compare(
        || NUMBERS.iter().map(|&n| is_prime::serial(n)).collect::<Vec<bool>>(),
        || is_prime::map(&NUMBERS).collect::<Vec<bool>>(),
    );
    same("is_prime", serial == parallel)?;
    for (number, prime) in NUMBERS.iter().zip(parallel) {
        writeln!(out, "   {number:>16} is {}", if prime { "prime" } else { "not prime" })?;
    }

    writeln!(out, "\n2. A range in two chunks, and their results added: digit_sum(0..10_000_000)\n")?;
    let (serial, parallel, sum_took) =
        compare(|| digit_sum::serial(black_box(0..10_000_000)), || digit_sum(black_box(0..10_000_000)));
    same("digit_sum", serial == parallel)?;
    writeln!(out, "   {parallel}")?;

    writeln!(out, "\n3. A DataFrame in chunks: enrich(flights, &airports)\n")?;
    let enriched = enrich(flights.clone(), &airports)?;
    print_flights(out, &enriched)?;
    let (serial, parallel, enrich_took) =
        compare(|| enrich::serial(flights.clone(), &airports), || enrich_quietly(flights.clone(), &airports));
    let serial = serial?;
    same("enrich", serial.equals_missing(&enriched) && serial.equals_missing(&parallel?))?;

    writeln!(out, "\nSerial and parallel results are equal. Medians of warm runs:\n")?;
    print_times(out, &[("is_prime", primes_took), ("digit_sum", sum_took), ("enrich", enrich_took)])?;
    // The number of pieces bounds the speedup.
    writeln!(out, "\n   Work is shared as five long items, two chunks, and many chunks, in this order.")?;
    if cfg!(debug_assertions) {
        writeln!(out, "   This is a debug build: add --release for times that mean something.")?;
    }
    if let Some((path, file)) = report {
        write_report(out, &path, file, flights, &airports)?;
    }
    Ok(())
}

/// Runs the three calls once more, and says which worker ran what.
fn write_report(
    out: &mut impl Write,
    path: &Path,
    mut file: File,
    flights: DataFrame,
    airports: &Airports,
) -> Result<(), Box<dyn Error>> {
    let report = fanfold::report(|| {
        let primes = is_prime::map(&NUMBERS).collect::<Vec<bool>>();
        (primes, digit_sum(0..10_000_000), enrich_quietly(flights, airports))
    });
    let is_json = path.extension().is_some_and(|extension| extension == "json");
    let content = if is_json { report.chrome_trace() } else { report.svg() };
    file.write_all(content.as_bytes()).map_err(|error| unwritable(path, &error))?;
    writeln!(out, "\nThe report in {}:\n\n{report}", path.display())?;
    Ok(())
}

fn create(path: &Path) -> Result<File, String> {
    File::create(path).map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &io::Error) -> String {
    format!("`{}` cannot be written: {error}", path.display())
}

/// The file of flights to read, and that of the report to write.
struct Arguments {
    path: PathBuf,
    report: Option<PathBuf>,
}

/// `None` if help is requested.
fn arguments() -> Result<Option<Arguments>, Box<dyn Error>> {
    let (mut path, mut report) = (data::bundled("flights-200k.parquet"), None);
    let mut given = env::args_os().skip(1);
    while let Some(argument) = given.next() {
        match argument.to_str() {
            Some("--help" | "-h") => return Ok(None),
            Some("--report") => {
                let file: PathBuf = given.next().ok_or("--report needs a file: --report FILE.svg")?.into();
                if !file.extension().is_some_and(|extension| extension == "svg" || extension == "json") {
                    return Err(format!("--report writes .svg or .json, and not `{}`", file.display()).into());
                }
                report = Some(file);
            }
            Some("--data") => path = given.next().ok_or("--data needs a file: --data FILE")?.into(),
            _ => {
                let argument = argument.to_string_lossy();
                return Err(format!("unknown argument `{}`: see --help", argument.escape_debug()).into());
            }
        }
    }
    Ok(Some(Arguments { path, report }))
}

fn read(path: &Path) -> Result<(DataFrame, Airports), data::DataError> {
    // Polars panics on some damaged files. `data` turns the panic into an error, and this hides the panic's message.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| ()));
    let flights = data::flights(path);
    panic::set_hook(hook);
    Ok((flights?, data::airports(&data::bundled("airports.csv"))?))
}

fn same(function: &str, equal: bool) -> Result<(), String> {
    if equal { Ok(()) } else { Err(format!("{function}: serial and parallel results differ; please report it")) }
}

fn print_flights(out: &mut impl Write, flights: &DataFrame) -> Result<(), Box<dyn Error>> {
    let columns = ["origin", "destination", "delay", "miles", "bearing", "minutes", "haul", "dollars"];
    let mut shown = flights.head(Some(6)).select(columns)?;
    for name in ["miles", "bearing", "minutes", "dollars"] {
        let rounded = shown.column(name)?.f64()?.apply_values(|value| (value * 10.0).round() / 10.0);
        shown.with_column(rounded.into_column())?;
    }
    writeln!(out, "The first {} of {} flights:", shown.height(), flights.height())?;
    // Skips the first line, which is the shape.
    for line in shown.to_string().lines().skip(1) {
        writeln!(out, "{line}")?;
    }
    let unknown = flights.column("miles")?.null_count();
    if unknown > 0 {
        writeln!(out, "Flights with an airport that is not in airports.csv, and so with nulls: {unknown}")?;
    }
    Ok(())
}

fn print_times(out: &mut impl Write, all: &[(&str, Times)]) -> io::Result<()> {
    writeln!(out, "   {:<10}{:>12}{:>12}{:>10}{:>7}", "function", "serial", "parallel", "speedup", "runs")?;
    for (function, times) in all {
        let [serial, parallel] = [times.serial, times.parallel].map(|time| time.as_secs_f64() * 1e3);
        let (speedup, runs) = (times.speedup(), times.runs);
        writeln!(out, "   {function:<10}{serial:>9.2} ms{parallel:>9.2} ms{speedup:>8.2} x{runs:>7}")?;
    }
    Ok(())
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
