//! The attribute of [fanfold](https://docs.rs/fanfold). Use it as `fanfold::parallel`.
//!
//! Data flows one way: `function.rs` and `options.rs` parse, `check.rs` refuses, `plan.rs` derives, `emit/` writes.
//! `errors.rs` collects all mistakes, which are reported together. The function is emitted with mistakes as well, so
//! that its callers compile.

mod cfg;
mod check;
mod emit;
mod errors;
mod function;
mod main_function;
mod marks;
mod options;
mod plan;
#[cfg(test)]
mod readme;
mod receiver;
mod suggest;
mod surroundings;
mod types;

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::quote;

/// Runs a function on the matching workers; see the crate's front page for a tour.
///
/// ```
/// use fanfold::parallel;
///
/// #[parallel(kind = "cpu", chunks = 4)]
/// fn squares(numbers: &[u64]) -> Vec<u64> {
///     numbers.iter().map(|n| n * n).collect()
/// }
///
/// assert_eq!(squares(&[1, 2, 3]), [1, 4, 9]);
/// ```
///
/// The function keeps its name: a call runs on a worker of the pool and waits for the result. A type of the same name
/// has the other ways to call it:
///
/// - `name(..)` runs on a worker and waits; on a worker of the same pool it runs in place. In async code it would block
///   a thread of the runtime, of which debug builds warn (feature `tokio`): await `name::submit(..)` there.
/// - `name::submit(..)` queues the call and returns a `Task` to join or await.
/// - `name::map(items)` runs it on many items, once it is ended by `.collect()` or the like. Items of a function of
///   several arguments are tuples, of one without arguments `()`.
/// - `name::on(&pool)` has `.call(..)`, `.submit(..)` and `.map(items)` on a pool that is chosen at run time:
///   `fanfold::On`. Not for async and process functions, methods with chunks, nor where the result is an `impl Trait`;
///   maps of all of these have `.on(&pool)`.
/// - `name::serial(..)` runs the original function on the calling thread.
///
/// The function's generics are on these functions, not on the type: `name::submit::<u8>(..)`.
///
/// # Methods
///
/// A method, and a function that names `Self`, has associated functions instead: `name_submit`, `name_map`,
/// `name_serial`, and `Type::name_on(&pool)`, where the receiver is the first argument of `call` and `submit`. Its
/// `submit`, and its `call` with a `timeout`, need a pool that is a `static`. The receiver decides on the others:
///
/// - `&self`, with `Self: Sync`: `name_submit` takes `self: Arc<Self>`; there is none if the result borrows from it.
///   In `value.name_map(items)` every call gets the same `&self`; without other arguments it is
///   `Type::name_map(receivers)`.
/// - `self: Arc<Self>`: `name_submit` takes the same, and `value.name_map(items)` clones the `Arc` for every item.
/// - `self` and `self: Box<Self>`: `name_submit` takes the same. In `Type::name_map(items)` the receiver is the first
///   of an item's parts.
/// - `&mut self`: no `name_submit`. `Type::name_map(items)` is as above: `things.iter_mut().zip(..)`.
///
/// `impl Trait for` and `trait` blocks cannot have them: write `companion = none`.
///
/// ```
/// use std::sync::Arc;
/// use fanfold::parallel;
///
/// struct Scale(u64);
///
/// impl Scale {
///     #[parallel(kind = "cpu")]
///     fn apply(&self, n: u64) -> u64 {
///         n * self.0
///     }
/// }
///
/// let scale = Arc::new(Scale(10));
/// assert_eq!(scale.apply(7), 70);
/// assert_eq!(scale.apply_map([1, 2]).collect::<Vec<_>>(), [10, 20]);
/// assert_eq!(scale.apply_submit(3).join().unwrap(), 30);
/// ```
///
/// # Options
///
/// | option | meaning |
/// |---|---|
/// | [`kind`](#kind) | what the function does, and so where it runs |
/// | [`chunks`, `chunk_size`](#chunks) | cuts an argument, and gathers the results |
/// | [`reduce`](#chunks) | folds the results of chunks |
/// | [`by`, `overlap`](#chunks-of-frames) | how frames are cut |
/// | [`timeout`](#time-limits) | ends what runs too long |
/// | [`deadline`](#time-limits) | does not start what is late |
/// | [`retries`, `backoff`](#retries) | again after an error |
/// | [`init`](#a-state-for-each-worker) | a state for each worker |
/// | [`pool`](#a-pool-of-your-own) | a pool of your own |
/// | [`progress`](#a-progress-bar) | a progress bar |
/// | [`companion`, `crate`](#names) | other names |
///
/// ## Kind
///
/// - `kind = "cpu"` is for functions that compute: the work-stealing pool, with one thread per core.
/// - `kind = "io"` is for functions that block: a pool of threads that grows with the work. An `async fn` (feature
///   `tokio`): the call is a future that is polled where it is awaited; `submit` gives it to the caller's Tokio
///   runtime, or to Fanfold's own.
/// - `kind = "process"` is for functions that may crash or must be killed: worker processes, which are the same program
///   started again (feature `process`; `#[fanfold::main]` on `main`; `Pool::process` tells what they share with their
///   parent). Arguments and results implement serde's traits, or are frames; the function has no generics, no `self`
///   and no borrowed arguments. The death of a worker is `TaskError::WorkerDied`.
/// - `kind = "cluster"` is as `kind = "process"`; with the crate `fanfold-cluster`, and `FANFOLD_CLUSTER` set to the
///   address of a scheduler, calls, maps and chunks run on the machines of that cluster.
///
/// ```
/// use fanfold::parallel;
///
/// #[parallel(kind = "cpu")]
/// fn checksum(data: &[u8]) -> u32 {
///     data.iter().fold(0, |sum, byte| sum.rotate_left(5) ^ u32::from(*byte))
/// }
///
/// #[parallel(kind = "io")]
/// fn size(path: &str) -> std::io::Result<u64> {
///     Ok(std::fs::metadata(path)?.len())
/// }
///
/// #[parallel(kind = "io")]
/// async fn greet(name: &str) -> String {
///     format!("hello {name}") // a client would await a response here
/// }
///
/// assert_eq!(checksum(&[1, 2]), 34);
/// assert!(size::submit("Cargo.toml").join().unwrap().is_ok());
/// assert_eq!(greet::submit("you").join().unwrap(), "hello you"); // or `greet("you").await`
/// ```
///
/// ```standalone_crate
/// use fanfold::parallel;
///
/// #[parallel(kind = "process")]
/// fn words(text: String) -> usize {
///     text.split_whitespace().count()
/// }
///
/// #[parallel(kind = "cluster")] // in worker processes, where no cluster is set
/// fn lines(text: String) -> usize {
///     text.lines().count()
/// }
///
/// #[fanfold::main]
/// fn main() {
///     assert_eq!(words("one two".to_owned()), 2);
///     assert_eq!(lines("one two".to_owned()), 1);
/// }
/// ```
///
/// ## Chunks
///
/// - `chunks = N`: the call, or the task of `submit`, cuts its chunked argument into `N` balanced pieces, runs each,
///   and gathers the results. `N` is a `usize` constant or `"auto"`: four per worker; fewer for a frame whose pieces
///   would have less than 1,024 rows, more for one whose pieces would hold more than 64 MiB.
/// - `chunk_size = N`: the same, by the length of a piece.
/// - `reduce = path` folds chunk results with `fn(T, T) -> T`, in chunk order, instead of gathering them; if the
///   function returns `Result<T, E>`, their values, and the first error is the result.
///
/// The chunked arguments are those marked `#[chunk]`, or else the first one. Every chunk gets all other arguments: `&T`
/// with `T: Sync`, or a clone.
///
/// ```
/// use fanfold::parallel;
///
/// #[parallel(kind = "cpu", chunks = "auto")]
/// fn scale(numbers: &mut [f64], factor: f64) {
///     numbers.iter_mut().for_each(|number| *number *= factor);
/// }
///
/// #[parallel(kind = "cpu", chunk_size = 1_000, reduce = usize::max)]
/// fn longest_line(text: &str) -> usize {
///     text.lines().map(str::len).max().unwrap_or(0) // of 1,000 lines
/// }
///
/// #[parallel(kind = "cpu", chunks = 4, reduce = std::ops::Add::add)]
/// fn dot(#[chunk] a: &[f64], #[chunk] b: &[f64]) -> f64 {
///     a.iter().zip(b).map(|(a, b)| a * b).sum()
/// }
///
/// let mut numbers = [1.0, 2.0];
/// scale(&mut numbers, 10.0);
/// assert_eq!(numbers, [10.0, 20.0]);
/// assert_eq!(longest_line("one\nthree"), 5);
/// assert_eq!(dot(&[1.0, 2.0], &[3.0, 4.0]), 11.0);
/// ```
///
/// ## Chunks of frames
///
#[cfg_attr(not(doctest), doc = include_str!("frame_options.md"))]
///
/// ## Time limits
///
/// - `timeout = "2s"`: the call, `submit` and each item of `map` end with `TaskError::TimedOut`, counted from the start
///   of the run on its worker, over all tries and pauses of `retries`. A call on a thread sees `fanfold::cancelled()`
///   and its caller stops waiting, the future of an `async fn` is dropped, a worker process is killed (one that must be
///   started first has the same time for that, but at least 1 s).
/// - `deadline = "2s"`: a direct call or a task of `submit` that has not started by then, counted from its submission,
///   never runs and ends with `TaskError::TimedOut`. One that runs by then sees `fanfold::cancelled()`, and no further
///   chunk or item of it starts, which ends it with that error too; the worker process of a call without `chunks` is
///   killed. A direct call of an `async fn` starts when it is polled, so only its tasks can be late. `map` is not
///   limited by it.
///
/// With either, arguments are owned, and the result is `Result<_, E>` with `E: From<TaskError>`.
///
/// ```
/// use fanfold::{TaskError, cancelled, parallel};
///
/// #[parallel(kind = "cpu", timeout = "20ms")]
/// fn search(from: u64) -> Result<u64, TaskError> {
///     let mut n = from;
///     while !cancelled() {
///         n = n.wrapping_add(1); // finds nothing
///     }
///     Ok(n)
/// }
///
/// #[parallel(kind = "io", deadline = "30s")]
/// fn render(page: u32) -> Result<String, TaskError> {
///     Ok(format!("page {page}"))
/// }
///
/// assert!(matches!(search(7), Err(TaskError::TimedOut { .. })));
/// assert_eq!(render(7).unwrap(), "page 7"); // it has waited for less than 30 s
/// ```
///
/// ## Retries
///
/// `retries = 3, backoff = "100ms"` calls again on `Err`, after a pause that doubles each time, less up to half of it
/// at random; arguments are `Clone`.
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use fanfold::parallel;
///
/// static TRIES: AtomicU32 = AtomicU32::new(0);
///
/// #[parallel(kind = "io", retries = 3, backoff = "1ms")]
/// fn connect(host: &str) -> Result<String, String> {
///     match TRIES.fetch_add(1, Ordering::Relaxed) {
///         0 | 1 => Err(format!("{host} is busy")),
///         tries => Ok(format!("{host} after {tries} errors")),
///     }
/// }
///
/// assert_eq!(connect("db").unwrap(), "db after 2 errors");
/// ```
///
/// ## A state for each worker
///
/// `init = path` names a function that returns the state, or a `Result` of it, and is called before the worker's first
/// call. With arguments, `init = connect(URL)`, each worker evaluates the expression once; it cannot use the arguments
/// of the function. The parameter marked `#[worker]` is `&mut` to the state and is not part of the call.
///
/// ```
/// use fanfold::parallel;
///
/// struct Connection {
///     queries: u32,
/// }
///
/// fn connect(url: &str) -> std::io::Result<Connection> {
///     assert!(url.starts_with("db:"));
///     Ok(Connection { queries: 0 })
/// }
///
/// #[parallel(kind = "io", init = connect("db://local"))]
/// fn query(#[worker] connection: &mut Connection, id: u32) -> String {
///     connection.queries += 1;
///     format!("row {id}")
/// }
///
/// #[parallel(kind = "cpu", init = Vec::new)]
/// fn reversed(#[worker] buffer: &mut Vec<char>, text: &str) -> String {
///     buffer.clear(); // keeps its memory
///     buffer.extend(text.chars().rev());
///     buffer.iter().collect()
/// }
///
/// assert_eq!(query(7), "row 7");
/// assert_eq!(reversed::map(["ab", "cd"]).collect::<Vec<_>>(), ["ba", "dc"]);
/// ```
///
/// ## A pool of your own
///
/// `pool = PATH` names a `static` pool, or a `static` `LazyLock` of one, instead of the kind's default.
///
/// ```
/// use std::sync::LazyLock;
/// use fanfold::{Pool, parallel};
///
/// static DATABASE: Pool = Pool::io("db").threads(8);
/// static HALF: LazyLock<Pool> = LazyLock::new(|| {
///     let cores = std::thread::available_parallelism().map_or(1, usize::from);
///     Pool::cpu("half").threads(cores.div_ceil(2)).build().expect("threads can be had")
/// });
///
/// #[parallel(kind = "io", pool = DATABASE)]
/// fn load(id: u32) -> String {
///     format!("row {id}") // in at most 8 threads at once
/// }
///
/// #[parallel(kind = "cpu", pool = HALF)]
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// assert_eq!(load(7), "row 7");
/// assert_eq!(square(7), 49);
/// ```
///
/// ## A progress bar
///
/// `progress = "label"` shows a bar on maps and chunked calls (feature `progress`). `fanfold::progress` has its style.
///
/// ```
/// #[fanfold::parallel(kind = "cpu", progress = "squares")]
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// assert_eq!(square::map([1, 2, 3]).collect::<Vec<_>>(), [1, 4, 9]);
/// ```
///
/// ## Names
///
/// - `companion = Name` gives the companion type another name, where a type or module has that of the function.
///   `companion = Self` is for an associated function that names neither `self` nor `Self`; `companion = none` leaves
///   the direct call alone, as in `impl Trait for` blocks. With `kind = "process"` neither of these two.
/// - `crate = "path"` is the path of fanfold, if it was renamed.
///
/// ```
/// use fanfold as threads;
/// use threads::parallel;
///
/// mod parse {}
///
/// #[parallel(kind = "cpu", companion = Parse)] // `parse` is a module
/// fn parse(text: &str) -> Option<u32> {
///     text.parse().ok()
/// }
///
/// #[derive(Debug, PartialEq)]
/// struct Tile(u32);
///
/// impl Tile {
///     #[parallel(kind = "cpu", companion = Self)]
///     fn area(width: u32, height: u32) -> u32 {
///         width * height
///     }
/// }
///
/// impl From<u32> for Tile {
///     #[parallel(kind = "cpu", companion = none)]
///     fn from(area: u32) -> Self {
///         Self(area)
///     }
/// }
///
/// #[parallel(kind = "cpu", crate = "threads")]
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// assert_eq!(Parse::map(["1", "x"]).collect::<Vec<_>>(), [Some(1), None]);
/// assert_eq!(Tile::area_submit(2, 3).join().unwrap(), 6);
/// assert_eq!(Tile::from(6), Tile(6));
/// assert_eq!(square(7), 49);
/// ```
///
/// # Errors
///
/// At compile time: arguments and results that cannot be sent to another thread, cut or gathered; options that do not
/// exist or contradict each other.
///
/// At run time, of functions with `timeout` or `deadline` and of `kind = "process"` that return `Result<_, E>` with `E:
/// From<TaskError>`: direct calls and maps return a time-out, the death of a worker or a value that cannot be
/// serialized as the function's own `Err`. In `submit(..).join()` it is the outer `Err`.
///
/// # Panics
///
/// A panic of the function resumes in the caller of `name(..)` and `map`; for a submitted task it is an error. A
/// chunked call panics if `#[chunk]` arguments have unequal lengths, and if chunk results do not fit each other (frames
/// with other columns) unless the function's error is a `PolarsError`, `GatherError` or boxed error.
///
/// Direct calls and maps also panic, with the reason, if the pool is closed, if `init` fails, or if a worker process
/// dies. A direct call with `timeout` or `deadline`, and a process function, returns the last two as its `Err`, as
/// above.
///
/// # Stack
///
/// Worker threads have 2 MiB of stack, Rust's default; the environment variable `RUST_MIN_STACK`, in bytes, sets
/// another size. A function that joins a task of its own pool runs the task in place, and some 1,000 nested joins
/// overflow the stack.
#[doc(alias = "apply_async")]
#[doc(alias = "spawn")]
#[doc(alias = "spawn_blocking")]
#[proc_macro_attribute]
pub fn parallel(options: TokenStream, item: TokenStream) -> TokenStream {
    expand(options.into(), &item.into()).into()
}

/// Lets a program start itself again as a worker process, for functions of `kind = "process"`.
///
/// It makes `fanfold::init()` the first call of `main`. Write other attributes of `main`, such as `#[tokio::main]`,
/// below it.
///
/// # Examples
///
/// ```standalone_crate
/// use fanfold::parallel;
///
/// #[parallel(kind = "process")]
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// #[fanfold::main]
/// fn main() {
///     assert_eq!(square(7), 49); // in another process
/// }
/// ```
#[proc_macro_attribute]
pub fn main(options: TokenStream, item: TokenStream) -> TokenStream {
    main_function::expand(options.into(), &item.into()).into()
}

fn expand(options: Tokens, item: &Tokens) -> Tokens {
    let mut errors = errors::Errors::new();
    let attribute = options.clone();
    let mut options = options::parse(options, &mut errors);
    let function = match function::parse(item.clone()) {
        Ok(function) => match cfg::split(&function) {
            Some(both) => {
                errors.forget();
                return both.into_iter().map(|item| expand(attribute.clone(), &item)).collect();
            }
            None => function,
        },
        Err(error) => {
            errors.push(error);
            let errors = errors.into_tokens();
            return quote!(#item #errors);
        }
    };
    check::check(&function, &options, &mut errors);
    if let Some(message) = surroundings::misplaced(&function, &options) {
        errors.at(&function.sig.ident, message);
        options.companion = Some(options::Companion::None(function.sig.ident.clone()));
    }
    let plan = plan::Plan::new(function, options, &mut errors);
    let code = emit::emit(&plan, errors.is_empty());
    let errors = errors.into_tokens();
    quote!(#code #errors)
}
