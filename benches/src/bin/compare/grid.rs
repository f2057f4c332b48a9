//! Maps by number and cost of items: never slower than a loop, and never slower than the best peer.

use std::io::Write;
use std::time::Duration;

use fanfold_benches::{ALLOWANCE, Cell, FANFOLD, Outcome, Report};

use crate::ways::{self, LOOP, RAYON, contest, steps, work};

/// Cells that take longer than this many nanoseconds in a loop are skipped.
const LONGEST: u64 = 2_000_000_000;
/// Cells whose loop takes at least this many nanoseconds must reach a nearly linear speedup.
const LARGE: u64 = 100_000_000;

pub(crate) fn run(report: &mut Report) {
    println!("maps: Fanfold's time against the best peer's");
    println!("{:>10} {}", "items", Cell::COSTS.map(|cost| format!("{:>16}", format!("{cost} ns"))).concat());
    for items in Cell::ITEMS {
        print!("{items:>10} ");
        for cost in Cell::COSTS {
            let cell = Cell { items, cost };
            let outcome = if cell.work() < LONGEST { measure(report, cell) } else { None };
            let text = outcome.and_then(|outcome| Some(format!("{:.3}", outcome.standing()?.ratio())));
            print!("{:>16}", text.unwrap_or_else(|| "-".into()));
            let _ = std::io::stdout().flush();
        }
        println!();
    }
    summarize(report);
}

fn measure(report: &mut Report, cell: Cell) -> Option<Outcome> {
    let title = cell.to_string();
    if !report.wants(&title) {
        return None;
    }
    let steps = steps(cell.cost);
    let rounds = if cell.work() < LARGE { 9 } else { 5 };
    let contest = contest(title, (0..cell.items).collect(), move |n: &u64| work(*n, steps));
    let mut outcome = report.measure(contest.rounds(rounds, Duration::from_millis(12)))?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the allowance is 150")]
    let allowance = Duration::from_nanos(ALLOWANCE as u64);
    let best = outcome.best_peer();
    outcome.bar_quietly(format!("against {best} + 150 ns"), outcome.ratio_less(FANFOLD, &best, allowance), 1.05);
    if outcome.time(LOOP) < Duration::from_micros(20) {
        outcome.bar_quietly("against a loop + 150 ns", outcome.ratio_less(FANFOLD, LOOP, allowance), 1.0);
    }
    if cell.work() >= LARGE && cell.items >= 256 {
        #[allow(clippy::cast_precision_loss, reason = "there are few contenders")]
        let cores = ways::cores() as f64;
        outcome.bar_quietly("share of a linear speedup, inverted", outcome.ratio(FANFOLD, LOOP) * cores, 1.0 / 0.97);
    }
    Some(report.keep_quietly(outcome).clone())
}

/// Prints the missed targets, and adds a target for all cells together.
fn summarize(report: &mut Report) {
    let mut missed: Vec<(String, String)> = Vec::new();
    for outcome in &report.contests {
        let missing = outcome.bars.iter().filter(|bar| !bar.holds);
        missed.extend(missing.map(|bar| (outcome.title.clone(), bar.line())));
    }
    for (title, line) in &missed {
        println!("{title}:{line}");
    }
    let long = report.contests.iter().filter(|outcome| outcome.time(LOOP) >= Duration::from_micros(20));
    let logs: Vec<f64> = long.map(|outcome| outcome.ratio(FANFOLD, RAYON).ln()).collect();
    if logs.len() < 10 {
        // The mean of a few selected cells is not meaningful.
        return;
    }
    #[allow(clippy::cast_precision_loss, reason = "there are 49 cells")]
    let mean = (logs.iter().sum::<f64>() / logs.len() as f64).exp();
    let whole = report.keep_quietly(Outcome::measured("all cells of 20 us and more", []));
    whole.bar("geometric mean of the ratios to rayon", mean, 1.0);
}
