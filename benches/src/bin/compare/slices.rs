//! Loops over several slices side by side, and over pieces of slices: each item takes a nanosecond or less, so an item
//! that is not taken by index, or a loop that is not vectorised, shows.

use std::time::Duration;

use fanfold::{Pool, chunks, chunks_mut, enumerate, windows, zip};
use fanfold_benches::{Contest, FANFOLD, Report};
use rayon::prelude::*;

use crate::ways::{LOOP, RAYON};

const ITEMS: u16 = 62_500;
/// How many times the numbers are repeated: 4 million items.
const TIMES: usize = 64;

/// Runs a contest of a loop, Fanfold and rayon, which end in equal values.
macro_rules! against_rayon {
    ($report:ident, $title:literal, $looped:expr, $mapped:expr, $rayon:expr) => {
        let contest = Contest::new(format!("{} of 4,000,000 floats", $title)).rounds(9, Duration::from_millis(40));
        let contest = contest.with(LOOP, || $looped).with(FANFOLD, || $mapped).with(RAYON, || $rayon);
        if let Some(outcome) = $report.run(contest) {
            let figure = outcome.ratio(FANFOLD, RAYON);
            outcome.bar(format!("against {RAYON}"), figure, 1.1);
        }
        println!();
    };
}

pub(crate) fn run(report: &mut Report) {
    let a: Vec<f32> = (0..ITEMS).map(f32::from).collect::<Vec<_>>().repeat(TIMES);
    let b: Vec<f32> = a.iter().map(|x| x / 2.0).collect();
    let c: Vec<f32> = a.iter().map(|x| x / 4.0).collect();
    let pool = Pool::cpu_default();
    against_rayon!(
        report,
        "pairs: multiply and add",
        a.iter().zip(&b).map(|(a, b)| a * 2.0 + b).collect::<Vec<f32>>(),
        pool.map(zip(&a, &b), |(a, b)| a * 2.0 + b).collect::<Vec<f32>>(),
        a.par_iter().zip(&b).map(|(a, b)| a * 2.0 + b).collect::<Vec<f32>>()
    );
    against_rayon!(
        report,
        "triples: multiply and add",
        a.iter().zip(b.iter().zip(&c)).map(|(a, (b, c))| a * c + b).collect::<Vec<f32>>(),
        pool.map(zip(&a, zip(&b, &c)), |(a, (b, c))| a * c + b).collect::<Vec<f32>>(),
        a.par_iter().zip(b.par_iter().zip(&c)).map(|(a, (b, c))| a * c + b).collect::<Vec<f32>>()
    );
    against_rayon!(
        report,
        "differences of neighbours",
        a.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<f32>>(),
        pool.map(windows(&a, 2), |pair| pair[1] - pair[0]).collect::<Vec<f32>>(),
        a.par_windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<f32>>()
    );
    against_rayon!(
        report,
        "sums of 8",
        a.chunks(8).map(|chunk| chunk.iter().sum()).collect::<Vec<f32>>(),
        pool.map(chunks(&a, 8), |chunk| chunk.iter().sum()).collect::<Vec<f32>>(),
        a.par_chunks(8).map(|chunk| chunk.iter().sum()).collect::<Vec<f32>>()
    );
    in_place(report, &a);
}

/// Loops that change their items. The values stay finite, however often a loop runs.
fn in_place(report: &mut Report, a: &[f32]) {
    let (mut looped, mut mapped, mut by_rayon) = (a.to_vec(), a.to_vec(), a.to_vec());
    let pool = Pool::cpu_default();
    let add = |to: &mut f32, a: &f32| *to = *to / 2.0 + a;
    against_rayon!(
        report,
        "in place: halve and add",
        looped.iter_mut().zip(a).for_each(|(to, a)| add(to, a)),
        pool.map(zip(&mut mapped, a), |(to, a)| add(to, a)).for_each(drop),
        by_rayon.par_iter_mut().zip(a).for_each(|(to, a)| add(to, a))
    );
    let number = |(index, to): (usize, &mut f32)| *to = float(index);
    against_rayon!(
        report,
        "in place: number",
        looped.iter_mut().enumerate().for_each(number),
        pool.map(enumerate(&mut mapped), number).for_each(drop),
        by_rayon.par_iter_mut().enumerate().for_each(number)
    );
    let row = |(index, row): (usize, &mut [f32])| row.iter_mut().for_each(|to| *to = *to / 2.0 + float(index));
    against_rayon!(
        report,
        "in place: rows of 1,000",
        looped.chunks_mut(1_000).enumerate().for_each(row),
        pool.map(enumerate(chunks_mut(&mut mapped, 1_000)), row).for_each(drop),
        by_rayon.par_chunks_mut(1_000).enumerate().for_each(row)
    );
}

#[allow(clippy::cast_precision_loss, reason = "any numbers do")]
fn float(index: usize) -> f32 {
    index as f32
}
