//! Fanfold beside its peers, in one process: `cargo run --release -p fanfold-benches --bin compare -- [PART ..]`.

mod calls;
mod frames;
mod grid;
mod idle;
mod peers;
mod processes;
mod python;
mod rows;
mod scans;
mod tasks;

use std::process::ExitCode;

/// Runs contests and prints what they measured.
type Part = fn(&Options) -> Result<(), String>;

const PARTS: [(&str, Part); 9] = [
    ("grid", grid::run),
    ("frames", frames::run),
    ("rows", rows::run),
    ("scans", scans::run),
    ("tasks", tasks::run),
    ("calls", calls::run),
    ("idle", idle::run),
    ("processes", processes::run),
    ("python", python::run),
];

/// What the command line says.
struct Options {
    /// A Parquet file of flights, instead of the sample.
    data: Option<String>,
    parts: Vec<String>,
}

#[fanfold::main]
fn main() -> ExitCode {
    // This program is also the children of some of the peers.
    procspawn::init();
    if processes::echo_if_asked() {
        return ExitCode::SUCCESS;
    }
    if let Some(done) = scans::child(std::env::args().skip(1)) {
        return done;
    }
    match parse(std::env::args().skip(1)).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("compare: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    println!("{cores} cores; median call, (fastest .. slowest block), ratio to the first row\n");
    for (name, part) in PARTS {
        if options.parts.is_empty() || options.parts.iter().any(|wanted| wanted == name) {
            part(options)?;
        }
    }
    Ok(())
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options { data: None, parts: Vec::new() };
    let known: Vec<&str> = PARTS.iter().map(|(name, _)| *name).collect();
    while let Some(arg) = args.next() {
        if arg == "--data" {
            options.data = Some(args.next().ok_or("`--data` needs a file")?);
        } else if known.contains(&arg.as_str()) {
            options.parts.push(arg);
        } else {
            return Err(format!("unknown part `{arg}`; there are: {}", known.join(", ")));
        }
    }
    Ok(options)
}
