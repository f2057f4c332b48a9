//! Maps of every size and cost: never slower than a loop, and never slower than the same by hand.

use std::hint::black_box;
use std::io::Write;
use std::time::Duration;

use fanfold::Pool;
use fanfold_benches::{Contest, verdict};
use rayon::prelude::*;

use crate::Options;

const SIZES: [usize; 7] = [1, 16, 256, 4_096, 65_536, 1_000_000, 10_000_000];
/// Nanoseconds an item.
const COSTS: [u64; 7] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000];
/// A cell that takes longer in a loop is left out.
const LONGEST: Duration = Duration::from_secs(2);

const FANFOLD: &str = "fanfold";
const PEERS: [&str; 4] = ["serial loop", "rayon", "rayon, with_min_len", "chili"];
/// What a call may cost above the best peer, whatever it does.
const ALLOWANCE: f64 = 150e-9;

/// A step of a random number generator: about a nanosecond, and not to be vectorised.
fn work(seed: u64, steps: u64) -> u64 {
    (0..steps).fold(seed, |x, _| x.wrapping_mul(6_364_136_223_846_793_005).rotate_left(17) ^ 1)
}

#[allow(clippy::unnecessary_wraps, reason = "a part like the others")]
pub(crate) fn run(_: &Options) -> Result<(), String> {
    let step = nanoseconds_a_step();
    println!("maps: time against the best of the peers, less {:.0} ns; {:.2} ns a step", ALLOWANCE * 1e9, step);
    println!("{:>10} {}", "items", COSTS.map(|cost| format!("{:>16}", format!("{cost} ns"))).concat());
    let (mut worst, mut logs) = (Vec::new(), Vec::new());
    for size in SIZES {
        print!("{size:>10} ");
        for cost in COSTS {
            if u32::try_from(size).map_or(Duration::MAX, |size| Duration::from_nanos(cost) * size) > LONGEST {
                print!("{:>16}", "-");
                continue;
            }
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let steps = ((cost as f64 / step).round() as u64).max(1);
            let cell = cell(size, steps);
            if cell.best >= 20e-6 {
                logs.push((cell.fanfold / cell.rayon).ln());
            }
            print!("{:>16}", format!("{:.2} {:.3}", cell.over(), cell.fanfold / cell.best));
            let _ = std::io::stdout().flush();
            worst.push((cell.over(), size, cost, cell));
        }
        println!();
    }
    worst.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (over, size, cost, cell) in worst.iter().take(8) {
        println!(
            "  {size} x {cost} ns: {over:.3}  fanfold {:.2e} best {:.2e} ({}) rayon {:.2e}",
            cell.fanfold, cell.best, cell.winner, cell.rayon
        );
    }
    print!("{}", verdict("worst cell against the best peer + 150 ns", worst[0].0, 1.05));
    #[allow(clippy::cast_precision_loss, reason = "some dozens")]
    let mean = (logs.iter().sum::<f64>() / logs.len() as f64).exp();
    print!("{}", verdict("geometric mean against rayon, from 20 us on", mean, 1.0));
    Ok(())
}

struct Cell {
    fanfold: f64,
    rayon: f64,
    best: f64,
    winner: &'static str,
}

impl Cell {
    fn over(&self) -> f64 {
        (self.fanfold - ALLOWANCE).max(0.0) / self.best
    }
}

fn cell(size: usize, steps: u64) -> Cell {
    let items: Vec<u64> = (0..size as u64).collect();
    let function = |n: &u64| work(*n, steps);
    let least = size.div_ceil(8).max(1);
    let outcome = Contest::new("")
        .rounds(5, Duration::from_millis(15))
        .with(PEERS[0], || items.iter().map(function).collect::<Vec<u64>>())
        .with(FANFOLD, || Pool::cpu_default().map(&items, function).collect::<Vec<u64>>())
        .with(PEERS[1], || items.par_iter().map(function).collect::<Vec<u64>>())
        .with(PEERS[2], || items.par_iter().with_min_len(least).map(function).collect::<Vec<u64>>())
        .run();
    let time = |name| outcome.time(name).as_secs_f64();
    let (best, winner) =
        PEERS[..3].iter().map(|name| (time(name), *name)).min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or_default();
    Cell { fanfold: time(FANFOLD), rayon: time(PEERS[1]), best, winner }
}

fn nanoseconds_a_step() -> f64 {
    const STEPS: u32 = 10_000_000;
    let start = std::time::Instant::now();
    black_box(work(black_box(1), u64::from(STEPS)));
    start.elapsed().as_secs_f64() * 1e9 / f64::from(STEPS)
}
