//! The ways to map a function over a slice: in a loop, by Fanfold, and by each of its peers, as its documentation
//! shows or as one would write it by hand.

use std::hint::black_box;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use fanfold::Pool;
use fanfold_benches::{Contest, FANFOLD};
use orx_parallel::{Par, ParCollection};
use rayon::prelude::*;

pub(crate) const LOOP: &str = "a loop";
pub(crate) const RAYON: &str = "rayon";
pub(crate) const MIN_LEN: &str = "rayon, with_min_len";
pub(crate) const CHILI: &str = "chili";
pub(crate) const ORX: &str = "orx-parallel";
pub(crate) const SCOPE: &str = "std::thread::scope";
pub(crate) const TOKIO: &str = "tokio spawn_blocking";
pub(crate) const THREADPOOL: &str = "threadpool";

/// What items and results must be for all of the ways.
pub(crate) trait Value: Clone + Default + PartialEq + Send + Sync + 'static {}

impl<T: Clone + Default + PartialEq + Send + Sync + 'static> Value for T {}

/// A function that is mapped. It is copied to wherever it runs.
pub(crate) trait Function<T, R>: Fn(&T) -> R + Copy + Send + Sync + 'static {}

impl<T, R, F: Fn(&T) -> R + Copy + Send + Sync + 'static> Function<T, R> for F {}

/// A way's name, and how it maps.
type Way<T, R, F> = (&'static str, fn(&Arc<Vec<T>>, F) -> Vec<R>);

fn ways<T: Value, R: Value, F: Function<T, R>>() -> [Way<T, R, F>; 9] {
    [
        (LOOP, |items, function| items.iter().map(function).collect()),
        (FANFOLD, |items, function| Pool::cpu_default().map(items.as_slice(), function).collect()),
        (RAYON, |items, function| items.par_iter().map(function).collect()),
        (MIN_LEN, |items, function| items.par_iter().with_min_len(items.len().div_ceil(8)).map(function).collect()),
        (CHILI, by_chili),
        (ORX, |items, function| ParCollection::par(items.as_ref()).map(function).collect()),
        (SCOPE, by_scope),
        (TOKIO, by_tokio),
        (THREADPOOL, by_threadpool),
    ]
}

/// A contest of all ways, each of which does what the loop does.
///
/// # Panics
///
/// If one gives something else.
pub(crate) fn contest<T: Value, R: Value, F: Function<T, R>>(
    title: impl Into<String>,
    items: Vec<T>,
    function: F,
) -> Contest<'static> {
    contest_after(Duration::ZERO, title, items, function)
}

/// The same, where each call comes after so much idleness.
pub(crate) fn contest_after<T: Value, R: Value, F: Function<T, R>>(
    idle: Duration,
    title: impl Into<String>,
    items: Vec<T>,
    function: F,
) -> Contest<'static> {
    let items = Arc::new(items);
    let expected = ways::<T, R, F>()[0].1(&items, function);
    let mut contest = Contest::new(title);
    for (name, way) in ways() {
        // What takes long is compared by its first items.
        let few = Arc::new(items[..items.len().min(4_096)].to_vec());
        assert!(way(&few, function) == expected[..few.len()], "{name} gives something else than the loop");
        let items = Arc::clone(&items);
        contest = if idle.is_zero() {
            contest.with(name, move || way(&items, function))
        } else {
            contest.with_timed(name, after(idle, move || drop(way(&items, function))))
        };
    }
    contest
}

/// One way, to call it as one likes.
pub(crate) fn each<T: Value, R: Value, F: Function<T, R>>() -> impl Iterator<Item = Way<T, R, F>> {
    ways().into_iter()
}

pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// As chili's README does: halves, down to leaves that are small beside the whole.
fn by_chili<T: Value, R: Value, F: Function<T, R>>(items: &Arc<Vec<T>>, function: F) -> Vec<R> {
    let mut results = vec![R::default(); items.len()];
    let leaf = items.len().div_ceil(128).max(1);
    halves(&mut chili::Scope::global(), items, &mut results, leaf, &|_: &mut chili::Scope<'_>, item: &T| {
        function(item)
    });
    results
}

/// The function is given the scope, so that it can do the same.
pub(crate) fn halves<T: Sync, R: Send, F: Fn(&mut chili::Scope<'_>, &T) -> R + Sync>(
    scope: &mut chili::Scope<'_>,
    items: &[T],
    results: &mut [R],
    leaf: usize,
    function: &F,
) {
    if items.len() <= leaf {
        return fill(items, results, |item| function(scope, item));
    }
    let middle = items.len() / 2;
    let (left, right) = items.split_at(middle);
    let (to_left, to_right) = results.split_at_mut(middle);
    scope.join(
        |scope| halves(scope, left, to_left, leaf, function),
        |scope| halves(scope, right, to_right, leaf, function),
    );
}

/// One piece for each core, the first of which stays here.
fn by_scope<T: Value, R: Value, F: Function<T, R>>(items: &Arc<Vec<T>>, function: F) -> Vec<R> {
    let mut results = vec![R::default(); items.len()];
    let size = items.len().div_ceil(cores()).max(1);
    thread::scope(|scope| {
        let mut pieces = items.chunks(size).zip(results.chunks_mut(size));
        let here = pieces.next();
        for (items, results) in pieces {
            scope.spawn(move || fill(items, results, function));
        }
        if let Some((items, results)) = here {
            fill(items, results, function);
        }
    });
    results
}

fn fill<T, R>(items: &[T], results: &mut [R], mut function: impl FnMut(&T) -> R) {
    for (item, result) in items.iter().zip(results) {
        *result = function(item);
    }
}

/// Four pieces for each core, as their costs may differ.
fn pieces(items: usize) -> impl Iterator<Item = Range<usize>> {
    let count = (cores() * 4).min(items);
    (0..count).map(move |piece| items * piece / count..items * (piece + 1) / count)
}

fn by_tokio<T: Value, R: Value, F: Function<T, R>>(items: &Arc<Vec<T>>, function: F) -> Vec<R> {
    let runtime = runtime();
    let tasks: Vec<_> = pieces(items.len())
        .map(|piece| {
            let items = Arc::clone(items);
            runtime.spawn_blocking(move || items[piece].iter().map(function).collect::<Vec<R>>())
        })
        .collect();
    let mut results = Vec::with_capacity(items.len());
    runtime.block_on(async {
        for task in tasks {
            results.extend(task.await.expect("no panic"));
        }
    });
    results
}

/// Tokio's usual runtime.
pub(crate) fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().build().expect("threads can be had"))
}

fn by_threadpool<T: Value, R: Value, F: Function<T, R>>(items: &Arc<Vec<T>>, function: F) -> Vec<R> {
    let pool = threads();
    let mut told = Vec::new();
    for piece in pieces(items.len()) {
        let (items, (tell, result)) = (Arc::clone(items), mpsc::sync_channel(1));
        pool.execute(move || {
            tell.send(items[piece].iter().map(function).collect::<Vec<R>>()).expect("it is waited for");
        });
        told.push(result);
    }
    let mut results = Vec::with_capacity(items.len());
    told.into_iter().for_each(|result| results.extend(result.recv().expect("no panic")));
    results
}

/// A pool of one thread for each core.
pub(crate) fn threads() -> threadpool::ThreadPool {
    static THREADS: OnceLock<Mutex<threadpool::ThreadPool>> = OnceLock::new();
    let threads = THREADS.get_or_init(|| Mutex::new(threadpool::ThreadPool::new(cores())));
    threads.lock().expect("no panic").clone()
}

/// A step of a random number generator: about a nanosecond, and not to be vectorised.
pub(crate) fn work(seed: u64, steps: u64) -> u64 {
    (0..steps).fold(seed, |x, _| x.wrapping_mul(6_364_136_223_846_793_005).rotate_left(17) ^ 1)
}

/// How many steps an item must have to cost so many nanoseconds in a loop.
pub(crate) fn steps(nanoseconds: u64) -> u64 {
    /// What an item of so many steps costs. The processor works at several short ones at a time, so that this is no line.
    static COSTS: OnceLock<Vec<f64>> = OnceLock::new();
    let costs = COSTS.get_or_init(|| (1..=256).map(cost).collect());
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
    let beyond = |cost: f64| (nanoseconds as f64 / cost * costs.len() as f64).round() as u64;
    #[allow(clippy::cast_precision_loss, reason = "small")]
    let short = costs.iter().position(|cost| *cost >= nanoseconds as f64);
    short.map_or_else(|| costs.last().map_or(1, |cost| beyond(*cost)), |index| index as u64 + 1)
}

/// Nanoseconds of an item of so many steps, in a loop.
fn cost(steps: u64) -> f64 {
    const ITEMS: u64 = 500;
    let run = || {
        let start = Instant::now();
        black_box((0..ITEMS).map(|n| work(black_box(n), steps)).fold(0, u64::wrapping_add));
        start.elapsed().as_secs_f64()
    };
    // The fastest of several: what else the machine does only ever adds to it.
    (0..5).map(|_| run()).fold(f64::MAX, f64::min) * 1e9 / 500.0
}

/// Times a call after so much idleness.
pub(crate) fn after(idle: Duration, mut call: impl FnMut()) -> impl FnMut() -> Duration {
    move || {
        thread::sleep(idle);
        let start = Instant::now();
        call();
        start.elapsed()
    }
}
