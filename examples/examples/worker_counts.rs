//! The number of workers: from the machine, the environment, the program, or for a single pool.
//!
//! `FANFOLD_CPU_THREADS=3 cargo run -p fanfold-examples --example worker_counts`

use std::error::Error;
use std::sync::Barrier;
use std::thread;

use fanfold::{Pool, join_all, parallel};

/// A named pool, for a resource that allows at most two calls at once.
static PRINTER: Pool = Pool::io("printer").threads(2);

#[parallel(kind = "io", pool = PRINTER)]
fn print(page: u32) -> String {
    static BOTH: Barrier = Barrier::new(2);
    BOTH.wait(); // for a page on the other worker; one worker alone would wait forever
    let worker = thread::current();
    format!("page {page} by {}", worker.name().unwrap_or("a thread without a name"))
}

fn main() -> Result<(), Box<dyn Error>> {
    // Must precede the first use of the pool; it overrides FANFOLD_IO_THREADS.
    fanfold::configure().io_threads(16).apply()?;

    println!("pool       workers at most");
    println!("cpu        {:>3}  FANFOLD_CPU_THREADS, or one for each core", Pool::cpu_default().stats().limit);
    println!("io         {:>3}  configure", Pool::io_default().stats().limit);
    println!("printer    {:>3}  threads(2)", PRINTER.stats().limit);
    let scratch = Pool::cpu("scratch").threads(1).build()?;
    println!("scratch    {:>3}  threads(1); its thread ends with the block\n", scratch.stats().limit);

    let mut lines = join_all((0..4).map(print::submit))?;
    lines.sort();
    println!("{}", lines.join("\n"));
    // A closure on the pool `scratch`.
    let doubled: Vec<u32> = scratch.map([1, 2, 3], |n| 2 * n).collect();
    println!("doubled by `scratch`: {doubled:?}");

    let stats = PRINTER.stats();
    println!(
        "\nprinter: {} done, {} failed, {} queued, {} threads",
        stats.done, stats.failed, stats.queued, stats.threads
    );

    // Invalid numbers are errors.
    if let Err(late) = fanfold::configure().cpu_threads(2).apply() {
        println!("\ntoo late:   {late}");
    }
    if let Err(none) = Pool::io("none").threads(0).build() {
        println!("no threads: {none}");
    }
    Ok(())
}
