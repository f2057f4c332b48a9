//! Nested maps, whose inner function does not know that its caller is a map.

use std::time::Duration;

use fanfold::Pool;
use fanfold_benches::{Contest, FANFOLD, Report};
use orx_parallel::{Par, ParCollection};
use rayon::prelude::*;

use crate::ways::{CHILI, LOOP, RAYON, SCOPE, cores, halves, steps, work};

const ORX: &str = "orx-parallel, the outer map only";
const OUTER: &str = "rayon, the outer map only";

pub(crate) fn run(report: &mut Report) {
    let shapes: [(u64, u64, u64); 8] = [
        (2, 10, 1_000_000),
        (8, 1_000, 1_000),
        (10, 10, 100),
        (64, 64, 10_000),
        (100, 100, 100),
        (1_000, 16, 10),
        (1_000, 1_000, 10),
        (3, 100_000, 100),
    ];
    for (outer, inner, cost) in shapes {
        let contest = shape(outer, inner, steps(cost), format!("{outer} maps of {inner} items of {cost} ns"));
        if let Some(outcome) = report.run(contest.rounds(9, Duration::from_millis(25))) {
            let best = outcome.best_peer();
            let figure = outcome.ratio_less(FANFOLD, &best, Duration::from_nanos(150));
            outcome.bar(format!("against {best}"), figure, 1.1);
        }
        println!();
    }
}

fn shape(outer: u64, inner: u64, steps: u64, title: String) -> Contest<'static> {
    let rows: Vec<u64> = (0..outer).collect();
    let columns: Vec<u64> = (0..inner).collect();
    let cell = move |row: u64, column: u64| work(row ^ column, steps);
    let data = move || (rows.clone(), columns.clone());
    let mut contest = Contest::new(title);
    let (rows, columns) = data();
    contest = contest.with(LOOP, move || -> Vec<u64> {
        rows.iter().map(|row| total(&columns.iter().map(|column| cell(*row, *column)).collect::<Vec<_>>())).collect()
    });
    let (rows, columns) = data();
    contest = contest.with(FANFOLD, move || -> Vec<u64> {
        let pool = Pool::cpu_default();
        let row = |row: &u64| total(&pool.map(&columns, |column: &u64| cell(*row, *column)).collect::<Vec<_>>());
        pool.map(&rows, row).collect()
    });
    let (rows, columns) = data();
    contest = contest.with(RAYON, move || -> Vec<u64> {
        let row = |row: &u64| total(&columns.par_iter().map(|column| cell(*row, *column)).collect::<Vec<_>>());
        rows.par_iter().map(row).collect()
    });
    let (rows, columns) = data();
    contest = contest.with(OUTER, move || -> Vec<u64> {
        let row = |row: &u64| total(&columns.iter().map(|column| cell(*row, *column)).collect::<Vec<_>>());
        rows.par_iter().map(row).collect()
    });
    let (rows, columns) = data();
    contest = contest.with(CHILI, move || {
        let mut totals = vec![0; rows.len()];
        let leaf = columns.len().div_ceil(128);
        halves(&mut chili::Scope::global(), &rows, &mut totals, 1, &|scope: &mut chili::Scope<'_>, row: &u64| {
            let mut results = vec![0; columns.len()];
            halves(scope, &columns, &mut results, leaf, &|_: &mut chili::Scope<'_>, column: &u64| cell(*row, *column));
            total(&results)
        });
        totals
    });
    let (rows, columns) = data();
    // The workers of its pool wait for each other forever in nested maps, so only the outer map uses it.
    contest = contest.with(ORX, move || -> Vec<u64> {
        let row = |row: &u64| total(&columns.iter().map(|column| cell(*row, *column)).collect::<Vec<_>>());
        ParCollection::par(&rows).map(row).collect()
    });
    let (rows, columns) = data();
    contest.with(SCOPE, move || {
        let mut totals = vec![0; rows.len()];
        let size = rows.len().div_ceil(cores());
        std::thread::scope(|scope| {
            for (rows, totals) in rows.chunks(size).zip(totals.chunks_mut(size)) {
                let columns = &columns;
                scope.spawn(move || {
                    for (row, to) in rows.iter().zip(totals) {
                        *to = total(&columns.iter().map(|column| cell(*row, *column)).collect::<Vec<_>>());
                    }
                });
            }
        });
        totals
    })
}

fn total(numbers: &[u64]) -> u64 {
    numbers.iter().fold(0, |sum, number| sum.wrapping_add(*number))
}
