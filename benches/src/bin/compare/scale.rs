//! Pools of few and of many workers: a tree of tasks, tasks from other threads, and short maps.
//!
//! On a machine with fewer cores than workers this shows what too many threads cost.

use std::hint::black_box;
use std::sync::{LazyLock, mpsc};
use std::thread;
use std::time::Duration;

use fanfold::{Pool, join_all};
use fanfold_benches::{Contest, Report};
use rayon::ThreadPool;
use rayon::prelude::*;

use crate::ways::{steps, work};

const WORKERS: [usize; 4] = [1, 2, 8, 64];
/// The levels of the tree, and the cost of each of its tasks in nanoseconds.
const LEVELS: u32 = 12;
const TASK_NS: u64 = 1_000;
/// The tasks that each thread submits.
const SUBMITS: usize = 500;
/// The maps in a row, their items, and the cost of each item in nanoseconds.
const MAPS: usize = 100;
const ITEMS: u64 = 1_000;
const ITEM_NS: u64 = 100;
/// How much longer 64 workers may take than 2: they have 0.8 of the throughput then.
const LIMIT: f64 = 1.25;

pub(crate) fn run(report: &mut Report) {
    let task_steps = steps(TASK_NS);
    let task = move || black_box(work(7, task_steps));
    contest(
        report,
        format!("a tree of {} tasks, each submits two and joins them", (1 << LEVELS) - 1),
        &|pool| pool.submit(move || tree(pool, LEVELS, task)).join().expect("no panic"),
        &|pool| pool.install(|| rayon_tree(LEVELS, task)),
    );
    for threads in [2, 8, 128] {
        contest(
            report,
            format!("{threads} threads at once, each submits {SUBMITS} tasks and joins them"),
            &|pool| {
                submitters(threads, || {
                    join_all((0..SUBMITS).map(|_| pool.submit(task))).map(drop).expect("no panic");
                });
            },
            &|pool| {
                submitters(threads, || {
                    let (sender, results) = mpsc::channel();
                    for _ in 0..SUBMITS {
                        let sender = sender.clone();
                        pool.spawn(move || sender.send(task()).expect("its receiver waits"));
                    }
                    drop(sender);
                    assert_eq!(results.iter().count(), SUBMITS);
                });
            },
        );
    }
    let item_steps = steps(ITEM_NS);
    contest(
        report,
        format!("{MAPS} maps in a row, each of {ITEMS} items of {ITEM_NS} ns"),
        &|pool| {
            for _ in 0..MAPS {
                black_box(pool.map(0..ITEMS, |n| work(n, item_steps)).collect::<Vec<_>>());
            }
        },
        &|pool| {
            for _ in 0..MAPS {
                pool.install(|| black_box((0..ITEMS).into_par_iter().map(|n| work(n, item_steps)).collect::<Vec<_>>()));
            }
        },
    );
}

/// Measures the same work on pools of each number of workers.
fn contest(report: &mut Report, title: String, ours: &dyn Fn(&'static Pool), rayons: &dyn Fn(&'static ThreadPool)) {
    static POOLS: LazyLock<Vec<(usize, Pool, ThreadPool)>> = LazyLock::new(|| WORKERS.map(pools).into());
    let mut contest = Contest::new(title).rounds(7, Duration::from_millis(50));
    for (workers, pool, rayon) in POOLS.iter() {
        contest = contest.with(fanfold(*workers), move || ours(pool));
        contest = contest.with(format!("rayon, {workers} workers"), move || rayons(rayon));
    }
    if let Some(outcome) = report.run(contest) {
        let figure = outcome.ratio(&fanfold(64), &fanfold(2));
        outcome.bar("64 workers against 2", figure, LIMIT);
    }
    println!();
}

fn fanfold(workers: usize) -> String {
    format!("fanfold, {workers} workers")
}

fn pools(workers: usize) -> (usize, Pool, ThreadPool) {
    let pool = Pool::cpu("scale").threads(workers).build().expect("threads can be had");
    let rayon = rayon::ThreadPoolBuilder::new().num_threads(workers).build().expect("threads can be had");
    (workers, pool, rayon)
}

fn tree(pool: &'static Pool, levels: u32, task: impl Fn() -> u64 + Copy + Send + 'static) {
    task();
    if levels > 1 {
        join_all([(); 2].map(|()| pool.submit(move || tree(pool, levels - 1, task)))).expect("no panic");
    }
}

fn rayon_tree(levels: u32, task: impl Fn() -> u64 + Copy + Send + Sync) {
    task();
    if levels > 1 {
        rayon::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(move |_| rayon_tree(levels - 1, task));
            }
        });
    }
}

/// Runs `submit` on so many threads at once.
fn submitters(threads: usize, submit: impl Fn() + Sync) {
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(&submit);
        }
    });
}
