//! Latency of a map: hot, and after its workers have gone to sleep.

use std::time::Duration;

use fanfold_benches::{FANFOLD, Report};

use crate::ways::{LOOP, contest_after, steps, work};

const ITEMS: u64 = 256;
/// Nanoseconds an item: 2.6 us to 25 ms in all.
const COSTS: [u64; 9] = [10, 40, 100, 400, 1_000, 4_000, 10_000, 40_000, 100_000];
const IDLE: Duration = Duration::from_millis(10);

pub(crate) fn run(report: &mut Report) {
    for (idle, when) in [(Duration::ZERO, "hot"), (IDLE, "after 10 ms of idleness")] {
        for cost in COSTS {
            let steps = steps(cost);
            let title = format!("{ITEMS} items of {cost} ns, {when}");
            if !report.wants(&title) {
                continue;
            }
            let contest = contest_after(idle, title, (0..ITEMS).collect(), move |n: &u64| work(*n, steps));
            let Some(outcome) = report.run(contest.rounds(9, Duration::from_millis(60))) else { continue };
            let best = outcome.best_peer();
            let limit = if idle.is_zero() { 1.05 } else { 1.10 };
            if idle.is_zero() || outcome.time(LOOP) >= Duration::from_millis(1) {
                let allowance = if idle.is_zero() { Duration::from_nanos(150) } else { Duration::ZERO };
                let figure = outcome.ratio_less(FANFOLD, &best, allowance);
                outcome.bar(format!("against {best}"), figure, limit);
            } else {
                let over = outcome.time(FANFOLD).as_secs_f64() - outcome.time(LOOP).as_secs_f64();
                outcome.bar("above a loop, us", over * 1e6, 100.0);
            }
            println!();
        }
    }
}
