//! Every shape of function under the attribute, in a crate that denies all lints. Two packages of two editions run this
//! file.
#![deny(
    clippy::nursery,
    clippy::pedantic,
    future_incompatible,
    missing_docs,
    nonstandard_style,
    rust_2018_idioms,
    unused
)]
#![allow(clippy::needless_collect, reason = "some results are to own what they give")]
#![deny(
    explicit_outlives_requirements,
    let_underscore_drop,
    missing_copy_implementations,
    missing_debug_implementations,
    redundant_lifetimes,
    single_use_lifetimes,
    trivial_casts,
    trivial_numeric_casts,
    unit_bindings,
    unnameable_types,
    unreachable_pub,
    unused_lifetimes,
    unused_qualifications,
    unused_results,
    variant_size_differences
)]
#![forbid(unsafe_code)]
use fanfold::{Pool, Task, TaskError, parallel};
use std::collections::HashMap;
use std::fmt::{Debug, Display};
use std::sync::Arc;

/// Doc.
#[parallel(kind = "cpu")]
#[must_use]
pub fn plain(a: u32, b: u32) -> u32 {
    a + b
}

/// Generic.
#[parallel(kind = "cpu")]
pub fn generic<T, const N: usize>(value: T) -> [T; N]
where
    T: Clone + Send,
{
    std::array::from_fn(|_| value.clone())
}

/// Lifetimes.
#[parallel(kind = "cpu")]
#[must_use]
pub fn longest<'a>(a: &'a str, b: &'a str) -> &'a str {
    if a.len() > b.len() { a } else { b }
}

/// Elided.
#[parallel(kind = "io")]
#[must_use]
pub fn trimmed(a: &str) -> &str {
    a.trim()
}

/// Struct with lifetime.
#[derive(Debug, Clone, Copy)]
pub struct View<'a>(pub &'a str);

/// Hidden.
#[parallel(kind = "cpu")]
#[must_use]
pub fn view(v: View<'_>) -> View<'_> {
    View(v.0.trim())
}

/// Two lifetimes with bounds.
#[parallel(kind = "cpu")]
#[must_use]
pub fn two<'a, 'b>(a: &'a [&'b str]) -> Option<&'b str>
where
    'b: 'a,
{
    a.first().copied()
}

/// Chunked mut.
#[parallel(kind = "cpu", chunks = "auto")]
pub fn bump(xs: &mut [u32], by: &u32) {
    for x in xs {
        *x += *by;
    }
}

/// Patterns.
#[parallel(kind = "cpu")]
#[must_use]
pub fn patterns((a, b): (u32, u32), mut c: Vec<u32>, _: &str, View(d): View<'_>) -> usize {
    c.push(a + b);
    c.len() + d.len()
}

/// Impl in and out.
#[parallel(kind = "cpu")]
pub fn impls(
    items: impl IntoIterator<Item = u32> + Send,
    f: &(impl Fn(u32) -> u32 + Sync),
) -> impl Iterator<Item = u32> + Send {
    items.into_iter().map(f).collect::<Vec<_>>().into_iter()
}

/// Result.
///
/// # Errors
/// When it does not parse.
#[parallel(kind = "cpu")]
pub fn question(text: &str) -> Result<i32, std::num::ParseIntError> {
    if text.is_empty() {
        return Ok(0);
    }
    let n: i32 = text.parse()?;
    Ok(n)
}

/// Option.
#[parallel(kind = "cpu")]
#[must_use]
pub fn maybe(text: &str) -> Option<char> {
    let c = text.chars().next()?;
    Some(c)
}

/// Unit.
#[parallel(kind = "io")]
pub fn unit() {}

/// Never.
#[parallel(kind = "io")]
pub fn never(code: u8) -> ! {
    panic!("{code}")
}

/// Recursion.
#[parallel(kind = "cpu")]
#[must_use]
pub fn fib(n: u32) -> u32 {
    if n < 2 {
        n
    } else {
        let t = fib::submit(n - 1);
        fib(n - 2) + t.join().unwrap_or_default()
    }
}

/// Raw.
#[parallel(kind = "cpu")]
#[must_use]
pub fn r#match(r#type: u32, r#fn: &u32) -> u32 {
    r#type + *r#fn
}

/// Box dyn.
#[parallel(kind = "cpu")]
#[must_use]
pub fn dynamic(f: Box<dyn Fn(u32) -> u32 + Send>, g: &(dyn Fn(u32) -> u32 + Sync)) -> Box<dyn Display + Send> {
    Box::new(g(f(1)))
}

/// Hrtb.
#[parallel(kind = "cpu")]
pub fn hrtb<F>(f: F, s: &str) -> usize
where
    F: for<'x> Fn(&'x str) -> &'x str + Send,
{
    f(s).len()
}

/// Fn pointers.
#[parallel(kind = "cpu")]
#[must_use]
pub fn pointers(f: fn(&str) -> &str, g: for<'a> fn(&'a u8) -> &'a u8) -> usize {
    f("a").len() + usize::from(*g(&1))
}

/// Slices and arrays.
#[parallel(kind = "cpu")]
#[must_use]
pub fn arrays(a: [u8; 3], b: &[[u8; 2]], (c,): (u8,)) -> u8 {
    a[0] + b[0][0] + c
}

/// Default type and assoc types.
#[parallel(kind = "cpu")]
pub fn assoc<I: Iterator + Send>(i: I) -> Vec<I::Item>
where
    I::Item: Send + Debug,
{
    i.collect()
}

/// Two chunks.
#[parallel(kind = "cpu", chunk_size = 2)]
#[must_use]
pub fn dot(#[chunk] a: &[f64], #[chunk] b: &[f64], scale: f64) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a * b * scale).collect()
}

const fn many() -> usize {
    3
}
/// Const expr.
#[parallel(kind = "cpu", chunks = many() + 1, reduce = u64::wrapping_add)]
#[must_use]
pub fn sum(r: std::ops::Range<u64>) -> u64 {
    r.sum()
}

/// Generic chunks.
#[parallel(kind = "cpu", chunks = N)]
#[must_use]
pub fn gchunks<const N: usize, T: Sync + Clone + Send>(r: &[T]) -> Vec<T> {
    r.to_vec()
}

/// Hash.
#[parallel(kind = "cpu", chunks = 3)]
#[must_use]
#[allow(clippy::implicit_hasher, reason = "the result is gathered with the default hasher")]
pub fn hash(text: &str) -> HashMap<String, Vec<usize>> {
    let mut m = HashMap::new();
    for w in text.split_whitespace() {
        m.entry(w.to_owned()).or_insert_with(Vec::new).push(w.len());
    }
    m
}

static POOL: Pool = Pool::io("mine").threads(2);
/// Options.
///
/// # Errors
/// Late.
#[parallel(kind = "io", pool = POOL, timeout = "2s", retries = 2, backoff = "1ms")]
pub fn options(a: u32) -> Result<u32, TaskError> {
    Ok(a)
}

const fn state() -> Vec<u32> {
    Vec::new()
}
/// State.
#[parallel(kind = "cpu", init = state)]
#[must_use]
pub fn stateful(n: u32, #[worker] seen: &mut Vec<u32>) -> usize {
    seen.push(n);
    seen.len()
}

/// Deprecated.
#[deprecated(note = "old")]
#[parallel(kind = "cpu")]
#[must_use]
pub fn old(n: u32) -> u32 {
    n
}

/// Cfg.
#[cfg_attr(all(), parallel(kind = "cpu"))]
#[must_use]
pub fn attributed(#[cfg(any())] _gone: Missing, #[cfg(not(any()))] n: u32) -> u32 {
    n
}

/// Tracing below.
#[parallel(kind = "cpu")]
#[tracing::instrument]
#[must_use]
pub fn traced_below(n: u32) -> u32 {
    n
}

/// Tracing above.
#[tracing::instrument(skip_all, fields(n))]
#[parallel(kind = "cpu")]
#[must_use]
pub fn traced_above(n: u32) -> u32 {
    n
}

/// Tracing on a Result below
///
/// # Errors
/// never
#[parallel(kind = "io", companion = Other)]
#[tracing::instrument(err, ret)]
pub fn traced_err(n: &str) -> Result<u32, TaskError> {
    n.parse().map_err(|_| TaskError::Cancelled)
}

/// Async.
///
/// # Errors
/// never
#[parallel(kind = "io", retries = 1)]
pub async fn fetch(a: &str, b: View<'_>) -> Result<usize, TaskError> {
    tokio::task::yield_now().await;
    Ok(a.len() + b.0.len())
}

/// Async traced.
#[parallel(kind = "io")]
#[tracing::instrument]
pub async fn traced_async(a: u32) -> u32 {
    a
}

/// Async traced above.
#[tracing::instrument]
#[parallel(kind = "io")]
pub async fn traced_async_above(a: u32) -> u32 {
    a
}

/// Async generic.
#[parallel(kind = "io")]
pub async fn agen<T: Debug + Send + Sync>(a: &[T], f: impl Fn(&T) -> u32 + Send) -> (&T, u32) {
    (&a[0], f(&a[0]))
}

/// An async function with a result type without a name.
#[parallel(kind = "io")]
pub async fn pages(limit: u32) -> impl Iterator<Item = u32> {
    tokio::task::yield_now().await;
    0..limit
}

/// An async function with a result type of which a part has no name.
///
/// # Errors
///
/// Never.
#[parallel(kind = "io", retries = 2)]
pub async fn words(text: &str) -> Result<impl Iterator<Item = String>, TaskError> {
    let count = text.split(' ').count();
    Ok((0..count).map(|word| word.to_string()))
}

/// A result type without a name that captures a lifetime.
#[parallel(kind = "cpu")]
pub fn precise<'a, T: Clone + Send + Sync>(values: &'a [T], _: &str) -> impl Iterator<Item = T> + use<'a, T> {
    values.iter().cloned()
}

/// Nothing.
#[parallel(kind = "cpu")]
pub fn first(values: &[u32]) -> impl Iterator<Item = u32> + use<> {
    values.first().copied().into_iter()
}

/// `#[expect]` of a lint that fires in the body.
#[parallel(kind = "cpu")]
#[expect(unused_variables, clippy::needless_pass_by_value, reason = "to be written")]
#[must_use]
pub fn unwritten(text: String) -> u32 {
    1
}

/// A type.
#[derive(Debug, Default)]
pub struct Grid<T> {
    cells: Vec<T>,
}
impl<T: Clone + Send + Sync + Debug + 'static> Grid<T> {
    /// New.
    #[parallel(kind = "cpu")]
    #[must_use]
    pub fn new(cells: Vec<T>) -> Self {
        Self { cells }
    }
    /// First.
    #[parallel(kind = "cpu")]
    #[must_use]
    pub fn first(&self, or: &T) -> T {
        self.cells.first().unwrap_or(or).clone()
    }
    /// First ref.
    #[parallel(kind = "cpu")]
    #[must_use]
    pub fn first_ref(&self) -> Option<&T> {
        self.cells.first()
    }
    /// Push.
    #[parallel(kind = "cpu")]
    pub fn push(&mut self, t: T) -> &mut Self {
        self.cells.push(t);
        self
    }
    /// Into.
    #[parallel(kind = "cpu")]
    #[must_use]
    pub fn into_cells(self) -> Vec<T> {
        self.cells
    }
    /// Arc.
    #[parallel(kind = "io", timeout = "3s")]
    /// # Errors
    /// late
    pub fn counted(self: Arc<Self>, n: usize) -> Result<Option<T>, TaskError> {
        Ok(self.cells.get(n).cloned())
    }
    /// Boxed
    #[parallel(kind = "io")]
    #[must_use]
    #[allow(clippy::boxed_local, reason = "the receiver is what the test is about")]
    pub fn boxed(self: Box<Self>) -> usize {
        self.cells.len()
    }
    /// chunked
    #[parallel(kind = "cpu", chunks = 2)]
    #[must_use]
    pub fn like(&self, other: &[T]) -> Vec<T>
    where
        T: PartialEq,
    {
        other.iter().filter(|o| self.cells.contains(o)).cloned().collect()
    }
    /// Assoc
    #[parallel(kind = "cpu", companion = Self)]
    #[must_use]
    pub fn free(n: u32) -> u32 {
        n
    }
    /// async
    #[parallel(kind = "io")]
    pub async fn size(&self, more: usize) -> usize {
        tokio::task::yield_now().await;
        self.cells.len() + more
    }
    /// impl result
    #[parallel(kind = "cpu")]
    pub fn iter(&self) -> impl Iterator<Item = &T> + '_ {
        self.cells.iter()
    }
    /// owned impl result
    #[parallel(kind = "cpu")]
    pub fn copied(&self) -> impl Iterator<Item = T> + use<T> {
        self.cells.clone().into_iter()
    }
    /// state
    #[parallel(kind = "cpu", init = state)]
    #[must_use]
    pub fn with_state(&self, #[worker] s: &mut Vec<u32>, n: u32) -> usize {
        s.push(n);
        s.len() + self.cells.len()
    }
}

/// trait
pub trait Area {
    /// area
    fn area(&self, scale: f64) -> f64;
    /// provided
    #[parallel(kind = "cpu", companion = none)]
    fn twice(&self) -> f64
    where
        Self: Sync,
    {
        self.area(2.0)
    }
    /// make
    fn make(n: f64) -> Self;
}
impl Area for Grid<f64> {
    #[parallel(kind = "cpu", companion = none)]
    fn area(&self, mut scale: f64) -> f64 {
        scale *= 2.0;
        self.cells.iter().sum::<f64>() * scale
    }
    #[parallel(kind = "io", companion = none)]
    fn make(n: f64) -> Self {
        Self { cells: vec![n] }
    }
}

#[allow(clippy::redundant_pub_crate, reason = "every visibility is tested")]
mod inner {
    #[fanfold::parallel(kind = "cpu")]
    pub(super) fn hidden(n: u32) -> u32 {
        n
    }
    pub(crate) mod deeper {
        #[fanfold::parallel(kind = "cpu")]
        pub(in super::super) fn hidden(n: u32) -> u32 {
            super::hidden(n) + super::hidden::serial(0)
        }
    }
}

macro_rules! make {
    ($($(#[$m:meta])* $v:vis $name:ident($($a:ident : $t:ty),*) -> $r:ty $b:block)*) => {
        $($(#[$m])* #[parallel(kind = "cpu")] #[must_use] $v fn $name($($a: $t),*) -> $r $b)*
    }
}
make! {
    /// one
    pub one(a: &str, b: (u32, &[u8])) -> usize { a.len() + b.1.len() }
    /// two
    pub three(a: Option<&str>) -> Option<&str> { a }
}
macro_rules! kinds {
    ($k:literal, $n:expr_2021, $f:ident) => {
        /// made
        #[parallel(kind = $k, chunks = $n)]
        #[must_use]
        pub fn $f(x: Vec<u32>) -> Vec<u32> {
            x
        }
    };
}
kinds!("cpu", 1 + 2, made_cpu);
kinds!("io", 2, made_io);

macro_rules! items { ($($i:item)*) => { $(#[parallel(kind = "cpu")] $i)* } }
items! {
    /// item
    #[must_use] pub fn item_one(a: u32) -> u32 { a }
    #[allow(missing_docs, reason = "a lint attribute on an item is tested")]
    #[must_use] pub fn item_two(a: &str) -> &str { a }
}
macro_rules! parts {
    ($m:meta, $p:pat, $t:ty, $e:expr_2021, $r:path, $k:tt) => {
        /// parts
        #[parallel(kind = "cpu", chunks = 2, reduce = $r)]
        #[$m]
        pub fn parts(x: &[u32], $p: $t) -> u32 {
            x.iter().sum::<u32>() + $e
        }
        /// parts2
        #[parallel(kind = $k, companion = none)]
        #[$m]
        pub fn parts2(x: &$t, $p: $t) -> u32 {
            x.0 + $e
        }
        /// parts3
        #[parallel(kind = $k)]
        #[$m]
        pub fn parts3(x: &$t, y: &mut $t) -> u32 {
            y.0 += 1;
            x.0 + y.0
        }
    };
}
parts!(must_use, _, (u32, u32), 1, u32::wrapping_add, "cpu");
macro_rules! dynamics {
    ($t:ty, $u:ty) => {
        /// d
        #[parallel(kind = "cpu")]
        #[must_use]
        pub fn dynamics(x: &$t, y: Option<&$u>) -> Option<usize> {
            x.len().checked_add(y.map_or(0, |y| y.len()))
        }
    };
}
dynamics!(dyn Length + Sync, str);
/// l
#[allow(clippy::len_without_is_empty, reason = "one method is enough")]
pub trait Length {
    /// l
    fn len(&self) -> usize;
}
impl Length for u8 {
    fn len(&self) -> usize {
        usize::from(*self)
    }
}
macro_rules! methods { ($s:ident, $n:ident, $t:ty) => { impl Grid<$t> {
    /// m
    #[parallel(kind = "cpu")] #[must_use] pub fn $n(&$s, n: usize) -> Option<&$t> { $s.cells.get(n) } } } }
methods!(self, nth, u32);

/// main
#[tokio::main(flavor = "current_thread")]
#[parallel(kind = "io", companion = Entry)]
#[must_use]
pub async fn entry(a: u32) -> u32 {
    a
}

#[tokio::test]
async fn arguments_results_and_bodies() {
    assert_eq!(plain(1, 2), 3);
    assert_eq!(plain::submit(1, 2).await.ok(), Some(3));
    assert_eq!(plain::map([(1, 2)]).collect::<Vec<_>>(), [3]);
    assert_eq!(generic::<_, 2>(1_u8), [1, 1]);
    assert_eq!(generic::submit::<u8, 2>(1).join().ok(), Some([1, 1]));
    let s = String::from(" ab ");
    assert_eq!(longest(&s, "a"), " ab ");
    assert_eq!(longest::map([(s.as_str(), "a")]).collect::<Vec<_>>(), [" ab "]);
    assert_eq!(trimmed(&s), "ab");
    assert_eq!(trimmed::submit(" x ").join().ok(), Some("x"));
    assert_eq!(view(View(&s)).0, "ab");
    assert_eq!(two(&["x"]), Some("x"));
}

#[test]
fn patterns_traits_and_types() {
    let mut xs = [1, 2, 3];
    bump(&mut xs, &1);
    assert_eq!(xs, [2, 3, 4]);
    assert_eq!(patterns((1, 2), vec![], "", View("abc")), 4);
    assert_eq!(patterns::map([((1, 2), vec![], "", View("abc"))]).sum::<usize>(), 4);
    assert_eq!(impls(vec![1, 2], &|n| n + 1).sum::<u32>(), 5);
    assert_eq!(question("12"), Ok(12));
    assert_eq!(question::map(["1", "2"]).collect::<Result<Vec<_>, _>>(), Ok(vec![1, 2]));
    assert_eq!(maybe(""), None);
    let values = precise(&[1, 2], &String::from("ends before")).chain(first(&[1, 2]));
    assert_eq!(values.collect::<Vec<_>>(), [1, 2, 1]);
    assert_eq!(first::submit(&[1, 2]).join().map(Iterator::count).ok(), Some(1));
    assert_eq!(precise::map([(&[1, 2][..], "")]).collect::<Vec<_>>().into_iter().flatten().sum::<u32>(), 3);
    unit();
    unit::submit().join().unwrap();
    assert!(never::submit(1).join().is_err());
    assert_eq!(fib(10), 55);
    assert_eq!(r#match(1, &2), 3);
    assert_eq!(r#match::submit(1, &2).join().ok(), Some(3));
    assert_eq!(dynamic(Box::new(|n| n + 1), &|n| n * 2).to_string(), "4");
    assert_eq!(hrtb(str::trim, " a"), 1);
    assert_eq!(pointers(str::trim, |a| a), 2);
    assert_eq!(arrays([1; 3], &[[1; 2]], (1,)), 3);
    assert_eq!(assoc(0..2), [0, 1]);
    assert_eq!(dot(&[1.0, 2.0, 3.0], &[1.0; 3], 2.0), [2.0, 4.0, 6.0]);
}

#[test]
fn options_and_other_attributes() {
    assert_eq!(sum(0..10), 45);
    assert_eq!(gchunks::<2, _>(&[1, 2, 3]), [1, 2, 3]);
    assert_eq!(hash("a b\na c")["a"], [1, 1]);
    assert_eq!(options(1).ok(), Some(1));
    assert_eq!(unwritten(String::new()), 1);
    assert_eq!(stateful(1), 1);
    #[allow(deprecated, reason = "a call of a deprecated function is tested")]
    {
        assert_eq!(old(1), 1);
    }
    assert_eq!(attributed(1), 1);
    assert_eq!(traced_below(1) + traced_above(1) + traced_above::serial(1), 3);
    assert_eq!(traced_err("1").ok(), Some(1));
    assert_eq!(Other::submit("1").join().unwrap().ok(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn futures() {
    let s = String::from(" ab ");
    assert_eq!(fetch(&s, View(&s)).await.ok(), Some(8));
    assert_eq!(fetch::submit("a", View("b")).await.unwrap().ok(), Some(2));
    assert_eq!(pages(3).await.sum::<u32>(), 3);
    assert_eq!(pages::submit(3).await.map(Iterator::sum::<u32>).ok(), Some(3));
    assert_eq!(pages::map(0..3).collect::<Vec<_>>().into_iter().flatten().sum::<u32>(), 1);
    assert_eq!(words(&s).await.map(Iterator::count).ok(), Some(3));
    assert_eq!(words::submit("a b").await.unwrap().map(Iterator::count).ok(), Some(2));
    assert_eq!(traced_async(1).await + traced_async_above(1).await, 2);
    assert_eq!(agen(&[1_u32], |n| *n + 1).await, (&1, 2));
}

#[tokio::test]
async fn methods() {
    let mut g = Grid::new(vec![1_u32]);
    assert_eq!(g.first(&2), 1);
    assert_eq!(g.first_map([&2]).collect::<Vec<_>>(), [1]);
    assert_eq!(g.first_ref(), Some(&1));
    assert_eq!(g.push(2).push(3).cells.len(), 3);
    assert_eq!(g.like(&[1, 5]), [1]);
    assert_eq!(Grid::<u32>::free(1), 1);
    assert_eq!(Grid::<u32>::free_submit(1).join().ok(), Some(1));
    assert_eq!(g.size(1).await, 4);
    assert_eq!(g.iter().count(), 3);
    assert_eq!(g.with_state(1), 4);
    assert_eq!(Box::new(Grid::new(vec![1_u8])).boxed(), 1);
    let g = Arc::new(g);
    assert_eq!(Arc::clone(&g).counted(0).ok(), Some(Some(1)));
    let t: Task<u32> = Arc::clone(&g).first_submit(&5);
    assert_eq!(t.join().ok(), Some(1));
    assert_eq!(Arc::clone(&g).copied_submit().join().map(Iterator::count).ok(), Some(3));
    assert_eq!(Arc::into_inner(g).map(Grid::into_cells).map(|c| c.len()), Some(3));
    assert!((Grid::make(1.0).area(1.0) - 2.0).abs() < 0.1);
    assert!((Grid::make(1.0).twice() - 4.0).abs() < 0.1);
}

#[test]
fn modules_and_macros() {
    assert_eq!(inner::hidden(1) + inner::deeper::hidden(1) + inner::deeper::hidden::serial(1), 3);
    assert_eq!(one("a", (1, &[1])), 2);
    assert_eq!(three(Some("x")), Some("x"));
    assert_eq!(made_cpu(vec![1, 2]), made_io(vec![1, 2]));
    let e = std::thread::spawn(|| entry(1)).join().ok();
    assert_eq!(e, Some(1));
    assert_eq!(item_one(1), 1);
    assert_eq!(item_two::submit("a").join().ok(), Some("a"));
    assert_eq!(parts(&[1, 2], (1, 2)), 5);
    assert_eq!(parts2(&(1, 2), (1, 2)), 2);
    assert_eq!(parts3(&(1, 2), &mut (1, 2)), 3);
    assert_eq!(dynamics(&1_u8, Some("abc")), Some(4));
    assert_eq!(Grid::new(vec![1_u32]).nth(0), Some(&1));
}
