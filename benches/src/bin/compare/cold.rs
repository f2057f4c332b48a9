//! The first call of a program: each figure is taken in a process of its own.
//!
//! The other parts call everything many times and measure warm pools. A command-line program calls each map once.

use std::collections::HashMap;
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use fanfold::{Pool, zip};
use fanfold_benches::{Contest, FANFOLD, Report};
use rayon::prelude::*;

use crate::ways::{LOOP, RAYON, steps, work};

/// The first argument of a child process; the others are the case, its numbers and the way.
const CHILD: &str = "--cold";

/// What a child process measures.
enum Case {
    /// A map of so many items of so many nanoseconds.
    Map { items: u64, cost: u64 },
    /// The same on a pool that is built for it.
    OwnPool { items: u64, cost: u64 },
    /// A map while two other threads compute without end.
    BusyMap { items: u64, cost: u64 },
    /// Sums of pairs of so many numbers.
    Zip { items: u64 },
    /// Counts of so many items by so many keys, in a map.
    Count { items: u64, keys: u64 },
    /// The sizes of all files below a folder, one map per folder.
    Walk,
    /// Items that come one by one from another thread, 20 ms apart: the time until the first one runs.
    SlowProducer { items: u64 },
}

impl Case {
    fn name(&self) -> &'static str {
        match self {
            Self::Map { .. } => "map",
            Self::OwnPool { .. } => "own-pool",
            Self::BusyMap { .. } => "busy-map",
            Self::Zip { .. } => "zip",
            Self::Count { .. } => "count",
            Self::Walk => "walk",
            Self::SlowProducer { .. } => "slow-producer",
        }
    }

    fn title(&self) -> String {
        match *self {
            Self::Map { items, cost } => format!("first map of a process: {items} items of {:?}", nanoseconds(cost)),
            Self::OwnPool { items, cost } => {
                format!("first map on a pool built for it: {items} items of {:?}", nanoseconds(cost))
            }
            Self::BusyMap { items, cost } => {
                format!("first map beside two busy loops: {items} items of {:?}", nanoseconds(cost))
            }
            Self::Zip { items } => format!("first map of a process: {items} pairs of f32"),
            Self::Count { items, keys } => format!("first fold of a process: {items} items counted by {keys} keys"),
            Self::Walk => "first walk of a folder tree: a map per folder".to_owned(),
            Self::SlowProducer { items } => format!("first item of {items} that a thread sends 20 ms apart"),
        }
    }

    /// The numbers that the child needs: items, and the steps of each or the number of keys.
    fn numbers(&self) -> (u64, u64) {
        match *self {
            Self::Map { items, cost } | Self::OwnPool { items, cost } | Self::BusyMap { items, cost } => {
                (items, steps(cost))
            }
            Self::Zip { items } | Self::SlowProducer { items } => (items, 0),
            Self::Count { items, keys } => (items, keys),
            Self::Walk => (0, 0),
        }
    }

    /// How many times as long as rayon Fanfold may take.
    fn limit(&self) -> f64 {
        match self {
            Self::Map { items: 20, .. } => 1.25,
            _ => 1.10,
        }
    }
}

fn nanoseconds(cost: u64) -> Duration {
    Duration::from_nanos(cost)
}

fn cases() -> Vec<Case> {
    const MS: u64 = 1_000_000;
    let maps = [
        (2, MS),
        (2, 20 * MS),
        (2, 200 * MS),
        (3, 100 * MS),
        (4, 100 * MS),
        (8, 100 * MS),
        (64, 2 * MS),
        (1_000, MS / 10),
        (20, MS / 50),
    ];
    let maps = maps.into_iter().map(|(items, cost)| Case::Map { items, cost });
    let own = [Case::OwnPool { items: 4, cost: 100 * MS }, Case::OwnPool { items: 1_000, cost: MS / 10 }];
    let others = [
        Case::BusyMap { items: 8, cost: 20 * MS },
        Case::BusyMap { items: 1_000, cost: MS / 10 },
        Case::Zip { items: 4_000_000 },
        Case::Count { items: 1_000_000, keys: 1_000 },
        Case::Count { items: 1_000_000, keys: 100_000 },
        Case::Walk,
        Case::SlowProducer { items: 5 },
    ];
    maps.chain(own).chain(others).collect()
}

/// Folders and files for the walk.
const FOLDERS: usize = 400;
const FILES: usize = 8;

pub(crate) fn run(report: &mut Report) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    for branch in 0..20 {
        for leaf in 0..FOLDERS / 20 {
            let leaf = folder.path().join(format!("{branch}/{leaf}"));
            fs::create_dir_all(&leaf).expect("a temporary folder can be written");
            for file in 0..FILES {
                fs::write(leaf.join(file.to_string()), [0; 100]).expect("a temporary folder can be written");
            }
        }
    }
    for case in cases() {
        let (items, steps) = case.numbers();
        let mut contest = Contest::new(case.title()).rounds(9, Duration::ZERO);
        for way in [LOOP, FANFOLD, RAYON] {
            let (name, folder) = (case.name(), folder.path().to_owned());
            contest = contest.with_timed(way, move || measured(name, items, steps, way, &folder));
        }
        if let Some(outcome) = report.run(contest) {
            let figure = outcome.ratio(FANFOLD, RAYON);
            outcome.bar(format!("against {RAYON}"), figure, case.limit());
        }
        println!();
    }
}

/// Runs one child process, and gives what it measured.
fn measured(case: &str, items: u64, steps: u64, way: &str, folder: &Path) -> Duration {
    let program = std::env::current_exe().expect("this program has a path");
    let numbers = [items.to_string(), steps.to_string()];
    let child = Command::new(program).args([CHILD, case]).args(numbers).arg(way).arg(folder).output();
    let child = child.expect("this program can be started again");
    let said = String::from_utf8_lossy(&child.stdout);
    let nanoseconds = said.trim().parse().unwrap_or_else(|_| {
        panic!("{case} by {way}: {} {said} {}", child.status, String::from_utf8_lossy(&child.stderr))
    });
    Duration::from_nanos(nanoseconds)
}

/// The child process of one measurement, if this is one.
pub(crate) fn child(mut args: impl Iterator<Item = String>) -> Option<ExitCode> {
    if args.next()? != CHILD {
        return None;
    }
    let (case, items, steps) = (args.next()?, args.next()?.parse().ok()?, args.next()?.parse().ok()?);
    let (way, folder) = (args.next()?, PathBuf::from(args.next()?));
    let time = match case.as_str() {
        "map" => timed(|| map(items, steps, &way)),
        "busy-map" => {
            for _ in 0..2 {
                // Ends with the process.
                thread::spawn(|| {
                    loop {
                        std::hint::spin_loop();
                    }
                });
            }
            timed(|| map(items, steps, &way))
        }
        "own-pool" => timed(|| own_pool(items, steps, &way)),
        "zip" => {
            let (left, right) = (numbers(items), numbers(items));
            timed(|| sums(&left, &right, &way))
        }
        "count" => timed(|| assert_eq!(counts(items, steps, &way).values().sum::<u64>(), items)),
        "walk" => timed(|| assert_eq!(walk(&folder, &way), (FOLDERS * FILES * 100) as u64)),
        _ => first_item(items, &way),
    };
    println!("{}", time.as_nanos());
    Some(ExitCode::SUCCESS)
}

fn timed<T>(run: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    black_box(run());
    start.elapsed()
}

fn map(items: u64, steps: u64, way: &str) -> Vec<u64> {
    match way {
        LOOP => (0..items).map(|n| work(n, steps)).collect(),
        RAYON => (0..items).into_par_iter().map(|n| work(n, steps)).collect(),
        _ => Pool::cpu_default().map(0..items, |n| work(n, steps)).collect(),
    }
}

fn own_pool(items: u64, steps: u64, way: &str) -> Vec<u64> {
    match way {
        LOOP => map(items, steps, LOOP),
        RAYON => {
            let pool = rayon::ThreadPoolBuilder::new().build().expect("threads can be had");
            pool.install(|| map(items, steps, RAYON))
        }
        _ => {
            let pool = Pool::cpu("own").build().expect("threads can be had");
            pool.map(0..items, |n| work(n, steps)).collect()
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "any numbers do")]
fn numbers(items: u64) -> Vec<f32> {
    (0..items).map(|n| n as f32).collect()
}

fn sums(left: &[f32], right: &[f32], way: &str) -> Vec<f32> {
    match way {
        LOOP => left.iter().zip(right).map(|(a, b)| a + b).collect(),
        RAYON => left.par_iter().zip(right).map(|(a, b)| a + b).collect(),
        _ => Pool::cpu_default().map(zip(left, right), |(a, b): (&f32, &f32)| a + b).collect(),
    }
}

type Counts = HashMap<u64, u64>;

/// How many items have each key.
fn counts(items: u64, keys: u64, way: &str) -> Counts {
    let key = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(20) % keys;
    let count = |mut counts: Counts, key: u64| {
        *counts.entry(key).or_default() += 1;
        counts
    };
    let merge = |mut all: Counts, more: Counts| {
        more.into_iter().for_each(|(key, count)| *all.entry(key).or_default() += count);
        all
    };
    match way {
        LOOP => (0..items).map(key).fold(Counts::new(), count),
        RAYON => (0..items).into_par_iter().map(key).fold(Counts::new, count).reduce(Counts::new, merge),
        _ => Pool::cpu_default().map(0..items, key).fold(Counts::new, count).reduce(merge),
    }
}

/// Bytes of all files below a folder.
fn walk(folder: &Path, way: &str) -> u64 {
    let entries: Vec<_> = fs::read_dir(folder).expect("the folder is there").flatten().collect();
    let size = |entry: &fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => walk(&entry.path(), way),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    match way {
        LOOP => entries.iter().map(size).sum(),
        RAYON => entries.par_iter().map(size).sum(),
        _ => Pool::cpu_default().map(&entries, size).sum(),
    }
}

/// How long it takes until the first of the items runs.
fn first_item(items: u64, way: &str) -> Duration {
    let (sender, receiver) = mpsc::channel();
    let (ran, runs) = mpsc::channel();
    let start = Instant::now();
    let producer = thread::spawn(move || {
        for n in 0..items {
            thread::sleep(Duration::from_millis(20));
            if sender.send(n).is_err() {
                return;
            }
        }
    });
    let run = move |_: u64| ran.send(start.elapsed()).is_ok();
    let ended: Vec<bool> = match way {
        LOOP => receiver.into_iter().map(run).collect(),
        RAYON => receiver.into_iter().par_bridge().map(run).collect(),
        _ => Pool::cpu_default().map(receiver.into_iter(), run).collect(),
    };
    drop(ended);
    producer.join().expect("the producer does not panic");
    runs.iter().min().expect("an item ran")
}
