//! Recursive functions: each call is a map of two parts, and many parts contain very little work.

use std::time::Duration;

use fanfold::parallel;
use fanfold_benches::{Contest, FANFOLD, Report};

use crate::ways::{CHILI, LOOP, RAYON};

const WITH_CUT: &str = "fanfold, with a cutoff";
const RAYON_CUT: &str = "rayon, with a cutoff";
const JOINED: &str = "fanfold::join";
const JOINED_CUT: &str = "fanfold::join, with a cutoff";
const ANNOTATED: &str = "fanfold::join, annotated function";
const SUBMITTED: &str = "fanfold, submit and join";

pub(crate) fn run(report: &mut Report) {
    for depth in [10, 20] {
        let tree = Node::tree(depth);
        let expected = sum_in_loop(&tree);
        assert_eq!(expected, sum(&tree), "the contenders agree");
        let contest = Contest::new(format!("the sum of a tree of {} nodes", (1 << depth) - 1))
            .with(LOOP, || sum_in_loop(&tree))
            .with(FANFOLD, || sum(&tree))
            .with(JOINED, || sum_by_join(&tree))
            .with(ANNOTATED, || sum_annotated(&tree))
            .with(RAYON, || sum_by_rayon(&tree))
            .with(CHILI, || sum_by_chili(&tree, &mut chili::Scope::global()));
        compare(report, contest);
    }
    for n in [15, 30] {
        assert_eq!(fib_in_loop(n), fib(n), "the contenders agree");
        let contest = Contest::new(format!("fib({n})"))
            .with(LOOP, || fib_in_loop(n))
            .with(FANFOLD, || fib(n))
            .with(WITH_CUT, || fib_cut(n))
            .with(JOINED, || fib_by_join(n, 2))
            .with(ANNOTATED, || fib_annotated(n))
            .with(JOINED_CUT, || fib_by_join(n, CUT))
            .with(SUBMITTED, || fib_submitted(n))
            .with(RAYON, || fib_by_rayon(n, 2))
            .with(RAYON_CUT, || fib_by_rayon(n, CUT))
            .with(CHILI, || fib_by_chili(n, &mut chili::Scope::global()));
        compare(report, contest);
    }
    for length in [1_000, 1_000_000] {
        let numbers: Vec<u64> = (0..length).map(|n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        // Each contender sorts a copy; the time of all contenders includes the copying.
        let copy = |sort: &dyn Fn(&mut [u64])| {
            let mut numbers = numbers.clone();
            sort(&mut numbers);
            debug_assert!(numbers.is_sorted());
        };
        let contest = Contest::new(format!("quicksort of {length} integers"))
            .with(LOOP, || copy(&sort_in_loop))
            .with(FANFOLD, || copy(&|numbers| sort(numbers)))
            .with(WITH_CUT, || copy(&|numbers| sort_cut(numbers)))
            .with(JOINED, || copy(&|numbers| sort_by_join(numbers, SMALL)))
            .with(ANNOTATED, || copy(&|numbers| sort_annotated(numbers)))
            .with(JOINED_CUT, || copy(&|numbers| sort_by_join(numbers, LONG)))
            .with(RAYON, || copy(&|numbers| sort_by_rayon(numbers, SMALL)))
            .with(RAYON_CUT, || copy(&|numbers| sort_by_rayon(numbers, LONG)))
            .with(CHILI, || copy(&|numbers| sort_by_chili(numbers, &mut chili::Scope::global())));
        compare(report, contest);
    }
}

fn compare(report: &mut Report, contest: Contest<'_>) {
    if let Some(outcome) = report.run(contest.rounds(7, Duration::from_millis(25))) {
        let best = outcome.best_peer();
        let figure = outcome.ratio(FANFOLD, &best);
        outcome.bar(format!("against {best}"), figure, 1.05);
        outcome.bar(format!("{JOINED}: against rayon"), outcome.ratio(JOINED, RAYON), 1.1);
        outcome.bar(format!("{ANNOTATED}: against rayon"), outcome.ratio(ANNOTATED, RAYON), 1.3);
    }
    println!();
}

/// A binary tree.
struct Node {
    value: u64,
    children: Option<Box<[Node; 2]>>,
}

impl Node {
    fn tree(depth: u64) -> Self {
        let children = (depth > 1).then(|| Box::new([Self::tree(depth - 1), Self::tree(depth - 1)]));
        Self { value: depth, children }
    }
}

#[parallel(kind = "cpu")]
fn sum(node: &Node) -> u64 {
    node.value + node.children.as_ref().map_or(0, |children| sum::map(&children[..]).sum::<u64>())
}

fn sum_in_loop(node: &Node) -> u64 {
    node.value + node.children.as_ref().map_or(0, |children| children.iter().map(sum_in_loop).sum())
}

fn sum_by_join(node: &Node) -> u64 {
    let Some(children) = &node.children else { return node.value };
    let (left, right) = fanfold::join(|| sum_by_join(&children[0]), || sum_by_join(&children[1]));
    node.value + left + right
}

#[parallel(kind = "cpu")]
fn sum_annotated(node: &Node) -> u64 {
    let Some(children) = &node.children else { return node.value };
    let (left, right) = fanfold::join(|| sum_annotated(&children[0]), || sum_annotated(&children[1]));
    node.value + left + right
}

fn sum_by_rayon(node: &Node) -> u64 {
    let Some(children) = &node.children else { return node.value };
    let (left, right) = rayon::join(|| sum_by_rayon(&children[0]), || sum_by_rayon(&children[1]));
    node.value + left + right
}

fn sum_by_chili(node: &Node, scope: &mut chili::Scope<'_>) -> u64 {
    let Some(children) = &node.children else { return node.value };
    let (left, right) =
        scope.join(|scope| sum_by_chili(&children[0], scope), |scope| sum_by_chili(&children[1], scope));
    node.value + left + right
}

/// Below this number, the contenders with a cutoff continue serially.
const CUT: u64 = 18;

#[parallel(kind = "cpu")]
fn fib(n: u64) -> u64 {
    if n < 2 { n } else { fib::map([n - 1, n - 2]).sum() }
}

#[parallel(kind = "cpu")]
fn fib_cut(n: u64) -> u64 {
    if n < CUT { fib_in_loop(n) } else { fib_cut::map([n - 1, n - 2]).sum() }
}

#[parallel(kind = "cpu")]
fn fib_submitted(n: u64) -> u64 {
    if n < CUT {
        return fib_in_loop(n);
    }
    let task = fib_submitted::submit(n - 1);
    let other = fib_submitted(n - 2);
    task.join().expect("no panic") + other
}

#[parallel(kind = "cpu")]
fn fib_annotated(n: u64) -> u64 {
    if n < 2 {
        return n;
    }
    let (a, b) = fanfold::join(|| fib_annotated(n - 1), || fib_annotated(n - 2));
    a + b
}

fn fib_in_loop(n: u64) -> u64 {
    // `black_box` prevents the compiler from turning one of the calls into a loop.
    if n < 2 { n } else { std::hint::black_box(fib_in_loop(n - 1)) + fib_in_loop(n - 2) }
}

fn fib_by_join(n: u64, cut: u64) -> u64 {
    if n < cut {
        return fib_in_loop(n);
    }
    let (a, b) = fanfold::join(|| fib_by_join(n - 1, cut), || fib_by_join(n - 2, cut));
    a + b
}

fn fib_by_rayon(n: u64, cut: u64) -> u64 {
    if n < cut {
        return fib_in_loop(n);
    }
    let (a, b) = rayon::join(|| fib_by_rayon(n - 1, cut), || fib_by_rayon(n - 2, cut));
    a + b
}

fn fib_by_chili(n: u64, scope: &mut chili::Scope<'_>) -> u64 {
    if n < 2 {
        return n;
    }
    let (a, b) = scope.join(|scope| fib_by_chili(n - 1, scope), |scope| fib_by_chili(n - 2, scope));
    a + b
}

/// All contenders sort shorter pieces by insertion.
const SMALL: usize = 32;
/// Up to this length, the contenders with a cutoff continue serially.
const LONG: usize = 8_192;

#[parallel(kind = "cpu")]
fn sort(numbers: &mut [u64]) {
    if let Some((left, right)) = partition(numbers) {
        sort::map([left, right]).for_each(drop);
    }
}

#[parallel(kind = "cpu")]
fn sort_cut(numbers: &mut [u64]) {
    if numbers.len() <= LONG {
        return sort_in_loop(numbers);
    }
    if let Some((left, right)) = partition(numbers) {
        sort_cut::map([left, right]).for_each(drop);
    }
}

fn sort_in_loop(numbers: &mut [u64]) {
    if let Some((left, right)) = partition(numbers) {
        sort_in_loop(left);
        sort_in_loop(right);
    }
}

fn sort_by_join(numbers: &mut [u64], cut: usize) {
    if numbers.len() <= cut {
        return sort_in_loop(numbers);
    }
    if let Some((left, right)) = partition(numbers) {
        fanfold::join(|| sort_by_join(left, cut), || sort_by_join(right, cut));
    }
}

#[parallel(kind = "cpu")]
fn sort_annotated(numbers: &mut [u64]) {
    if numbers.len() <= SMALL {
        return sort_in_loop(numbers);
    }
    if let Some((left, right)) = partition(numbers) {
        fanfold::join(|| sort_annotated(left), || sort_annotated(right));
    }
}

fn sort_by_rayon(numbers: &mut [u64], cut: usize) {
    if numbers.len() <= cut {
        return sort_in_loop(numbers);
    }
    if let Some((left, right)) = partition(numbers) {
        rayon::join(|| sort_by_rayon(left, cut), || sort_by_rayon(right, cut));
    }
}

fn sort_by_chili(numbers: &mut [u64], scope: &mut chili::Scope<'_>) {
    if let Some((left, right)) = partition(numbers) {
        scope.join(|scope| sort_by_chili(left, scope), |scope| sort_by_chili(right, scope));
    }
}

/// The two sides of the middle one of three; nothing is left to do for a short piece.
fn partition(numbers: &mut [u64]) -> Option<(&mut [u64], &mut [u64])> {
    let last = numbers.len().saturating_sub(1);
    if numbers.len() <= SMALL {
        for end in 1..numbers.len() {
            let place = numbers[..end].partition_point(|number| *number <= numbers[end]);
            numbers[place..=end].rotate_right(1);
        }
        return None;
    }
    let mut three = [0, last / 2, last];
    three.sort_unstable_by_key(|place| numbers[*place]);
    numbers.swap(three[1], last);
    let pivot = numbers[last];
    let mut place = 0;
    for index in 0..last {
        // Without a branch that a processor would have to guess.
        numbers.swap(index, place);
        place += usize::from(numbers[place] < pivot);
    }
    numbers.swap(place, last);
    let (left, right) = numbers.split_at_mut(place);
    Some((left, &mut right[1..]))
}
