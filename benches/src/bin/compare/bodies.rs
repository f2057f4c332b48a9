//! Functions with text and allocations, and arithmetic that the compiler vectorises.

use std::collections::BTreeMap;
use std::time::Duration;

use fanfold_benches::{Contest, FANFOLD, Report};

use crate::slices;
use crate::ways::{LOOP, contest};

pub(crate) fn run(report: &mut Report) {
    for lines in [100, 20_000] {
        let text: Vec<String> = (0..lines).map(line).collect();
        against_best(report, contest(format!("{lines} lines of text, parsed and reformatted"), text, reformat));
    }
    let texts: Vec<String> = (0..500).map(|n| (n..n + 20).map(line).collect::<Vec<_>>().join(" ")).collect();
    against_best(report, contest("word counts of 500 texts", texts, word_counts));
    for (items, length) in [(1_000, 16), (20_000, 64), (200, 10_000)] {
        let title = format!("{items} vectors of {length} numbers");
        let seeds: Vec<u32> = (0..items).collect();
        against_best(report, contest(title, seeds, move |n: &u32| (*n..*n + length).collect::<Vec<u32>>()));
    }
    for items in [1_000_u16, 4_096, 65_535] {
        let numbers: Vec<f32> = (0..items).map(f32::from).collect();
        let title = format!("a polynomial of {items} floats");
        vectorized(report, contest(title, numbers, |x: &f32| polynomial(*x)));
    }
    for items in [1_000_000_u32, 16_000_000] {
        let numbers: Vec<u32> = (0..items).collect();
        vectorized(report, contest(format!("a hash of {items} integers"), numbers, |n: &u32| hash(*n)));
    }
    slices::run(report);
}

fn against_best(report: &mut Report, contest: Contest<'_>) {
    if let Some(outcome) = report.run(contest.rounds(9, Duration::from_millis(20))) {
        let best = outcome.best_peer();
        let figure = outcome.ratio_less(FANFOLD, &best, Duration::from_nanos(150));
        outcome.bar(format!("against {best} + 150 ns"), figure, 1.05);
    }
    println!();
}

/// Compares with a vectorised loop, which is several times faster than a scalar one: Fanfold meets the target only
/// if its loop is vectorised too.
fn vectorized(report: &mut Report, contest: Contest<'_>) {
    if let Some(outcome) = report.run(contest.rounds(9, Duration::from_millis(20))) {
        let against_loop = outcome.ratio_less(FANFOLD, LOOP, Duration::from_nanos(150));
        outcome.bar("against a loop + 150 ns", against_loop, 1.05);
        let best = outcome.best_peer();
        let figure = outcome.ratio_less(FANFOLD, &best, Duration::from_nanos(150));
        outcome.bar(format!("against {best} + 150 ns"), figure, 1.05);
    }
    println!();
}

/// A line like those of a log file.
fn line(n: usize) -> String {
    let place = ["Lisbon", "Accra", "Lima", "Hanoi", "Oslo"][n * 7 % 5];
    format!("{n};2024-0{}-1{};{place};{};delayed by {} minutes", n % 9 + 1, n % 8, n * 37 % 1_000, n * 13 % 90)
}

#[allow(clippy::ptr_arg, reason = "the items are `String`s, and a map passes `&Item`")]
fn reformat(line: &String) -> String {
    let fields: Vec<&str> = line.split(';').collect();
    let [id, day, place, cost, text] = fields[..] else { return String::new() };
    let cost: u32 = cost.parse().unwrap_or(0);
    format!("{:>8} {} {:10} {:>6.2} {}", id, day.replace('-', "/"), place.to_uppercase(), f64::from(cost) / 3.0, text)
}

#[allow(clippy::ptr_arg, reason = "the items are `String`s, and a map passes `&Item`")]
fn word_counts(text: &String) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for word in text.split([' ', ';']) {
        *counts.entry(word.to_lowercase()).or_default() += 1;
    }
    counts
}

fn polynomial(x: f32) -> f32 {
    ((0.25 * x + 1.5) * x - 3.0) * x + 0.125
}

fn hash(n: u32) -> u32 {
    let mixed = (n ^ (n >> 16)).wrapping_mul(0x045d_9f3b);
    (mixed ^ (mixed >> 16)).wrapping_mul(0x045d_9f3b)
}
