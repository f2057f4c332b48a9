//! Maps from several threads at once.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use fanfold_benches::{Contest, FANFOLD, Report};

use crate::ways::{each, steps, work};

const CALLERS: [usize; 4] = [1, 4, 16, 64];
/// Maps that each caller runs, one after the other.
const MAPS: usize = 20;

pub(crate) fn run(report: &mut Report) {
    for callers in CALLERS {
        for (items, cost) in [(256_u64, 20_u64), (1_024, 250)] {
            let steps = steps(cost);
            let function = move |n: &u64| work(*n, steps);
            let data = Arc::new((0..items).collect::<Vec<u64>>());
            let title = format!("{callers} threads, each {MAPS} maps of {items} items of {cost} ns");
            let mut contest = Contest::new(title).rounds(9, Duration::from_millis(30));
            for (name, way) in each() {
                let data = &data;
                contest = contest.with(name, move || {
                    thread::scope(|scope| {
                        for _ in 0..callers {
                            scope.spawn(|| (0..MAPS).for_each(|_| drop(std::hint::black_box(way(data, function)))));
                        }
                    });
                });
            }
            if let Some(outcome) = report.run(contest) {
                let best = outcome.best_peer();
                let figure = outcome.ratio(FANFOLD, &best);
                outcome.bar(format!("against {best}"), figure, 1.05);
            }
            println!();
        }
    }
}
