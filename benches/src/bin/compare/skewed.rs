//! Items with unequal costs, where equal pieces would leave one worker with most of the work.

use std::time::Duration;

use fanfold_benches::{FANFOLD, Report};

use crate::ways::{contest, steps, work};

pub(crate) fn run(report: &mut Report) {
    let rare = |items: u64, cost: u64| -> Vec<u64> {
        // One item in a thousand, at pseudo-random positions, costs a thousand times as much.
        (0..items).map(|n| if n * 7_919 % 1_000 == 500 { cost * 1_000 } else { cost }).collect()
    };
    // From next to nothing up to twice the mean.
    let rising = |items: u64, mean: u64| -> Vec<u64> { (0..items).map(|n| (2 * mean * n / items).max(1)).collect() };
    let falling = |items, mean| -> Vec<u64> { rising(items, mean).into_iter().rev().collect() };
    let first = |items: u64, cost: u64| -> Vec<u64> {
        (0..items).map(|n| if n < items / 1_000 { cost * 1_000 } else { cost }).collect()
    };
    let last = |items, cost| -> Vec<u64> { first(items, cost).into_iter().rev().collect() };
    let workloads: [(&str, Vec<u64>); 10] = [
        ("10,000 items of 10 ns, one in 1,000 of 10 us", rare(10_000, 10)),
        ("10,000 items of 100 ns, one in 1,000 of 100 us", rare(10_000, 100)),
        ("100,000 items of 1 us, one in 1,000 of 1 ms", rare(100_000, 1_000)),
        ("1 M items of 10 ns, one in 1,000 of 10 us", rare(1_000_000, 10)),
        ("10,000 items of 100 ns, the first 10 of 100 us", first(10_000, 100)),
        ("10,000 items of 100 ns, the last 10 of 100 us", last(10_000, 100)),
        ("4,096 items, ascending to 1 us", rising(4_096, 500)),
        ("4,096 items, descending from 1 us", falling(4_096, 500)),
        ("65,536 items, ascending to 2 us", rising(65_536, 1_000)),
        ("65,536 items, descending from 2 us", falling(65_536, 1_000)),
    ];
    for (title, costs) in workloads {
        let items: Vec<u64> = costs.into_iter().map(steps).collect();
        let contest = contest(title, items, |steps: &u64| work(*steps, *steps));
        if let Some(outcome) = report.run(contest.rounds(9, Duration::from_millis(25))) {
            let best = outcome.best_peer();
            let figure = outcome.ratio(FANFOLD, &best);
            outcome.bar(format!("against {best}"), figure, 1.05);
        }
        println!();
    }
}
