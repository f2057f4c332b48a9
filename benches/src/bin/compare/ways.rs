//! Implementations of a map over a slice: a loop, Fanfold, and each peer as its documentation shows it, or by hand.

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

/// Bounds on items and results that all implementations need.
pub(crate) trait Value: Clone + Default + PartialEq + Send + Sync + 'static {}

impl<T: Clone + Default + PartialEq + Send + Sync + 'static> Value for T {}

/// A mapped function, which is copied to the threads that run it.
pub(crate) trait Function<T, R>: Fn(&T) -> R + Copy + Send + Sync + 'static {}

impl<T, R, F: Fn(&T) -> R + Copy + Send + Sync + 'static> Function<T, R> for F {}

/// The name of an implementation, and its function.
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

/// A contest of all implementations, whose results are compared with the loop's.
///
/// # Panics
///
/// If a result differs.
pub(crate) fn contest<T: Value, R: Value, F: Function<T, R>>(
    title: impl Into<String>,
    items: Vec<T>,
    function: F,
) -> Contest<'static> {
    contest_after(Duration::ZERO, title, items, function)
}

/// As [`contest`], where each call follows this much idleness.
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
        // Only the first items are compared, because some functions take long.
        let few = Arc::new(items[..items.len().min(4_096)].to_vec());
        assert!(way(&few, function) == expected[..few.len()], "the result of {name} differs from the loop's");
        let items = Arc::clone(&items);
        contest = if idle.is_zero() {
            contest.with(name, move || way(&items, function))
        } else {
            contest.with_timed(name, after(idle, move || drop(way(&items, function))))
        };
    }
    contest
}

/// Every implementation, to be called by the contest itself.
pub(crate) fn each<T: Value, R: Value, F: Function<T, R>>() -> impl Iterator<Item = Way<T, R, F>> {
    ways().into_iter()
}

pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Halves the items down to 128 leaves, as chili's README shows.
fn by_chili<T: Value, R: Value, F: Function<T, R>>(items: &Arc<Vec<T>>, function: F) -> Vec<R> {
    let mut results = vec![R::default(); items.len()];
    let leaf = items.len().div_ceil(128).max(1);
    halves(&mut chili::Scope::global(), items, &mut results, leaf, &|_: &mut chili::Scope<'_>, item: &T| {
        function(item)
    });
    results
}

/// Maps by halving. The function gets the scope, so that it can call `halves` itself.
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

/// One piece for each core; the calling thread runs the first.
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

/// Four pieces for each core, because their costs may differ.
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
    RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().build().expect("threads start"))
}

fn by_threadpool<T: Value, R: Value, F: Function<T, R>>(items: &Arc<Vec<T>>, function: F) -> Vec<R> {
    let pool = threads();
    let mut receivers = Vec::new();
    for piece in pieces(items.len()) {
        let (items, (sender, result)) = (Arc::clone(items), mpsc::sync_channel(1));
        pool.execute(move || {
            sender.send(items[piece].iter().map(function).collect::<Vec<R>>()).expect("the receiver waits");
        });
        receivers.push(result);
    }
    let mut results = Vec::with_capacity(items.len());
    receivers.into_iter().for_each(|result| results.extend(result.recv().expect("no panic")));
    results
}

/// A pool of one thread for each core.
pub(crate) fn threads() -> threadpool::ThreadPool {
    static THREADS: OnceLock<Mutex<threadpool::ThreadPool>> = OnceLock::new();
    let threads = THREADS.get_or_init(|| Mutex::new(threadpool::ThreadPool::new(cores())));
    threads.lock().expect("no panic").clone()
}

/// Steps of a random number generator: about a nanosecond each, and not vectorisable.
pub(crate) fn work(seed: u64, steps: u64) -> u64 {
    (0..steps).fold(seed, |x, _| x.wrapping_mul(6_364_136_223_846_793_005).rotate_left(17) ^ 1)
}

/// The number of steps for which an item costs this many nanoseconds in a loop.
pub(crate) fn steps(nanoseconds: u64) -> u64 {
    /// The cost of an item by its number of steps. The processor overlaps several short items, so it is not linear.
    static COSTS: OnceLock<Vec<f64>> = OnceLock::new();
    let costs = COSTS.get_or_init(|| (1..=256).map(cost).collect());
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "below 1e6"
    )]
    let beyond = |cost: f64| (nanoseconds as f64 / cost * costs.len() as f64).round() as u64;
    #[allow(clippy::cast_precision_loss, reason = "below 1e6")]
    let short = costs.iter().position(|cost| *cost >= nanoseconds as f64);
    short.map_or_else(|| costs.last().map_or(1, |cost| beyond(*cost)), |index| index as u64 + 1)
}

/// The nanoseconds of an item of this many steps, in a loop.
fn cost(steps: u64) -> f64 {
    const ITEMS: u64 = 500;
    let run = || {
        let start = Instant::now();
        black_box((0..ITEMS).map(|n| work(black_box(n), steps)).fold(0, u64::wrapping_add));
        start.elapsed().as_secs_f64()
    };
    // The fastest of several runs: other load only adds time.
    (0..5).map(|_| run()).fold(f64::MAX, f64::min) * 1e9 / 500.0
}

/// Times a call after this much idleness.
pub(crate) fn after(idle: Duration, mut call: impl FnMut()) -> impl FnMut() -> Duration {
    move || {
        thread::sleep(idle);
        let start = Instant::now();
        call();
        start.elapsed()
    }
}
