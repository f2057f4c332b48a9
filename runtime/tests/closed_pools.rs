//! Maps and calls on a closed pool: each panics at the place of the call, and names the pool.

use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Mutex;
use std::time::Duration;

use fanfold::{Pending, Pool, parallel};

static SEEN: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

static CLOSED: Pool = Pool::io("closed-io").threads(1);

#[parallel(kind = "io", pool = CLOSED)]
fn double(n: u64) -> u64 {
    2 * n
}

#[parallel(kind = "io", pool = CLOSED, chunks = 2, reduce = add)]
fn sum(numbers: &[u64]) -> u64 {
    numbers.iter().sum()
}

fn add(a: u64, b: u64) -> u64 {
    a + b
}

type Entry = fn(&Pool);

const ENTRIES: &[(&str, Entry)] = &[
    ("collect", |pool| drop(pool.map(0..9, |n| n).collect::<Vec<u64>>())),
    ("collect of an iterator", |pool| drop(pool.map((0..9).filter(|n| n % 2 == 0), |n| n).collect::<Vec<u64>>())),
    ("for_each", |pool| pool.map(0..9, |n: u64| n).for_each(drop)),
    ("for_each_ordered", |pool| pool.map(0..9, |n: u64| n).for_each_ordered(drop)),
    ("try_for_each_ordered", |pool| _ = pool.map(0..9, |n: u64| n).try_for_each_ordered(|_| Ok::<_, ()>(()))),
    ("reduce", |pool| _ = pool.map(0..9, |n: u64| n).reduce(|| 0, |a, b| a + b)),
    ("sum", |pool| _ = pool.map(0..9, |n: u64| n).sum::<u64>()),
    ("fold", |pool| _ = pool.map(0..9, |n: u64| n).fold(|| 0, |a, b| a + b).reduce(|a, b| a + b)),
    ("an iteration", |pool| for _ in pool.map(0..9, |n: u64| n) {}),
    ("next", |pool| _ = pool.map(0..9, |n: u64| n).into_iter().next()),
    ("collect with a time limit", |pool| {
        drop(pool.map(0..9, |n: u64| n).timeout(Duration::from_secs(60)).collect::<Vec<_>>());
    }),
    ("for_each with a time limit", |pool| pool.map(0..9, |n: u64| n).timeout(Duration::from_secs(60)).for_each(drop)),
    ("install", |pool| pool.install(|| ())),
    ("a direct call", |_| _ = double(1)),
    ("a map of a function", |_| drop(double::map(0..9).collect::<Vec<u64>>())),
    ("a chunked call", |_| _ = sum(&[1, 2, 3])),
];

/// One test, because the panic hook is global to the process.
#[test]
fn every_entry_names_the_pool_at_the_place_of_the_call() {
    let here = std::thread::current().id();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().id() == here {
            let file = info.location().map(Location::file).unwrap_or_default();
            let text = info.payload_as_str().unwrap_or_default();
            SEEN.lock().expect("no panic").push((text.to_owned(), file.to_owned()));
        }
    }));
    let pools = [
        Pool::cpu("closed-cpu").threads(2).build().expect("threads start"),
        Pool::io("closed-own").threads(1).build().expect("a thread starts"),
    ];
    for pool in pools.iter().chain([&CLOSED]) {
        pool.shutdown(Pending::Run);
    }
    let mut wrong = Vec::new();
    for pool in &pools {
        for (name, entry) in ENTRIES {
            let ended = catch_unwind(AssertUnwindSafe(|| entry(pool)));
            let seen = std::mem::take(&mut *SEEN.lock().expect("no panic"));
            let is_right = |(text, file): &(String, String)| text.contains("pool was closed") && file == file!();
            if ended.is_ok() || seen.len() != 1 || !seen.iter().all(is_right) {
                wrong.push((name, seen));
            }
        }
    }
    std::panic::set_hook(before);
    assert!(wrong.is_empty(), "{wrong:#?}");
}
