//! Fanfold compared with other libraries, in one process:
//! `cargo run --release -p fanfold-benches --bin compare -- [PART ..]`.

mod bodies;
mod callers;
mod calls;
mod cold;
mod frames;
mod grid;
mod idle;
mod io;
mod latency;
mod nested;
mod options;
mod peers;
mod processes;
mod python;
mod rows;
mod scale;
mod scans;
mod skewed;
mod slices;
mod tasks;
mod trees;
mod ways;

use std::process::ExitCode;

use fanfold_benches::{Machine, Report, page, plot};

use crate::options::{Options, parse};
use Run::{Always, IfPossible};

/// How a part runs its contests; the report prints and stores them.
#[derive(Clone, Copy)]
enum Run {
    Always(fn(&mut Report)),
    /// The part needs files, threads or processes that may not be available.
    IfPossible(fn(&Options, &mut Report) -> Result<(), String>),
}

struct Part {
    name: &'static str,
    about: &'static str,
    run: Run,
}

const PARTS: [Part; 18] = [
    Part { name: "grid", about: "maps by number and cost of items", run: Always(grid::run) },
    Part { name: "skewed", about: "maps of items with unequal costs", run: Always(skewed::run) },
    Part { name: "nested", about: "nested maps", run: Always(nested::run) },
    Part { name: "latency", about: "maps hot, and after 10 ms of idleness", run: Always(latency::run) },
    Part { name: "callers", about: "maps from 1 to 64 threads at once", run: Always(callers::run) },
    Part { name: "bodies", about: "text, allocations, vectorised loops, zips", run: Always(bodies::run) },
    Part {
        name: "trees",
        about: "recursive functions: the sum of a tree, Fibonacci, quicksort",
        run: Always(trees::run),
    },
    Part { name: "cold", about: "the first call of a process", run: Always(cold::run) },
    Part { name: "scale", about: "pools of 1 to 64 workers", run: Always(scale::run) },
    Part { name: "tasks", about: "tasks, submitted and joined", run: Always(tasks::run) },
    Part { name: "calls", about: "direct calls compared with submit and join", run: IfPossible(calls::run) },
    Part { name: "io", about: "blocking tasks on many threads", run: IfPossible(io::run) },
    Part { name: "idle", about: "processor time with little or no work", run: Always(idle::run) },
    Part { name: "frames", about: "chunks of DataFrames", run: IfPossible(frames::run) },
    Part { name: "rows", about: "rows, columns and groups of DataFrames", run: IfPossible(rows::run) },
    Part { name: "scans", about: "files larger than memory", run: IfPossible(scans::run) },
    Part { name: "processes", about: "worker processes", run: IfPossible(processes::run) },
    Part { name: "python", about: "workloads of tutorials on Python's pools", run: IfPossible(python::run) },
];

#[fanfold::main]
fn main() -> ExitCode {
    // Some peers and parts start this program again as a child process.
    procspawn::init();
    if processes::echo_if_asked() {
        return ExitCode::SUCCESS;
    }
    if let Some(done) = scans::child(std::env::args().skip(1)) {
        return done;
    }
    if let Some(done) = cold::child(std::env::args().skip(1)) {
        return done;
    }
    let parts: Vec<(&str, &str)> = PARTS.iter().map(|part| (part.name, part.about)).collect();
    match parse(std::env::args().skip(1), &parts).and_then(|options| options.map_or(Ok(()), |options| run(&options))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("compare: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    println!("{}", Machine::here().line());
    println!("median call, (fastest .. slowest block), ratio to the first row\n");
    for part in PARTS.iter().filter(|part| options.has(part.name)) {
        let report = if options.draw {
            match Report::read(&options.out, part.name) {
                Ok(report) => report,
                Err(_) => continue,
            }
        } else {
            let mut report = Report::new(part.name, &options.only, options.again);
            match part.run {
                Always(run) => run(&mut report),
                IfPossible(run) => run(options, &mut report)?,
            }
            if report.contests.is_empty() {
                continue;
            }
            report.write(&options.out).map_err(|error| format!("{}: {error}", options.out.display()))?
        };
        plot::draw(&report, &options.out)?;
        if let Some(page) = &options.page {
            page::refresh(page, &report)?;
        }
    }
    Ok(())
}
