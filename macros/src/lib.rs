//! The attribute of [fanfold](https://docs.rs/fanfold). Use it as `fanfold::parallel`.
//!
//! Data flows one way: `function.rs` and `options.rs` parse, `check.rs` refuses, `plan.rs` derives, `emit/` writes.
//! `errors.rs` collects all mistakes, which are reported together. The function is emitted with mistakes as well, so that
//! its callers compile.

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
mod types;

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::quote;

/// Runs a function on the matching workers; see the crate's front page for a tour.
///
/// The function stays callable under its own name: the call goes to a worker of the pool and waits for its
/// result. Beside it stands a type of the same name with the other ways to call it:
///
/// | call | does |
/// |---|---|
/// | `name(..)` | runs on a worker and waits; in place on a worker of the same pool |
/// | `name::submit(..)` | queues the call and returns a `Task` to join or await |
/// | `name::map(items)` | runs it on many items; `.collect()` and its like end it |
/// | `name::serial(..)` | the untouched function, here and now |
///
/// A function's generics stand on these functions, not on the type: `name::submit::<u8>(..)`.
///
/// # Methods
///
/// Beside a method, and beside a function that speaks of `Self`, stand associated functions: `name_submit`,
/// `name_map`, `name_serial`.
///
/// | receiver | `name_submit` | `name_map` |
/// |---|---|---|
/// | `&self`, with `Self: Sync` | takes `self: Arc<Self>`; none if the result borrows from it | `value.name_map(items)`: every item is given the same `&self`. Without other arguments `Type::name_map(receivers)` |
/// | `self: Arc<Self>` | takes the same | `value.name_map(items)`, with a clone of the `Arc` for every item |
/// | `self`, `self: Box<Self>` | takes the same | `Type::name_map(items)`: the receiver is the first of an item's parts |
/// | `&mut self` | none | `Type::name_map(items)`, as above: `things.iter_mut().zip(..)` |
///
/// In `impl Trait for` and `trait` blocks there is no room for them: say `companion = none`.
///
/// # Options
///
/// | option | meaning |
/// |---|---|
/// | `kind = "cpu"` | computes: the work-stealing pool, one thread a core |
/// | `kind = "io"` | blocks: threads that grow in number with the work. An `async fn` (feature `tokio`): the call is a future that is polled where it is awaited; `submit` gives it to the caller's Tokio runtime, or to Fanfold's own |
/// | `kind = "process"` | may crash or must be killed: a worker process, the same program started again (feature `process`; `#[fanfold::main]` on `main`; `Pool::process` says what it sees of its parent). Arguments and results are serde's, or frames; nothing generic, no `self`, nothing borrowed. A lost worker is `TaskError::WorkerDied` |
/// | `chunks = N` | the call cuts its chunked argument into `N` balanced pieces, runs each, and puts the results together; `N` is a `usize` constant or `"auto"`: four a worker; of frames fewer where a piece would have less than 1,024 rows, more where it would hold more than 64 MiB |
/// | `chunk_size = N` | the same, by the length of a piece |
/// | `by = ["key"]` | with chunks: a `DataFrame` or `&DataFrame` is cut between groups, so that none is in two pieces; results come in the order of the groups' first rows (feature `polars`) |
/// | `overlap = N` | with chunks: each piece of a frame sees N rows before its own, which are cut off from its result again (feature `polars`) |
/// | `reduce = path` | folds chunk results with `fn(T, T) -> T`, in chunk order, instead of gathering them |
/// | `timeout = "2s"` | the call, `submit` and each item of `map` end with `TaskError::TimedOut`, counted from the start of the run on its worker, over all tries and pauses of `retries`; a thread is told (`fanfold::cancelled()`) and left behind, the future of an `async fn` is dropped, a worker process is killed (one that has to be started first has as long for that, but 1 s at least). Arguments are owned, the result is `Result<_, E>` with `E: From<TaskError>` |
/// | `retries = 3`, `backoff = "100ms"` | again on `Err`, after a pause that doubles each time, less up to half of it at random; arguments are `Clone` |
/// | `init = path` | a state for each worker, made before its first call by a function that returns it, or a `Result` of it; the parameter marked `#[worker]` is `&mut` to it and is not part of the call |
/// | `pool = PATH` | a `static` pool of your own instead of the kind's, or a `static` `LazyLock` of one |
/// | `progress = "label"` | a progress bar on `map` and chunked calls (feature `progress`) |
/// | `companion = Name` | another name for the type beside the function; `Self` for an associated function that names neither `self` nor `Self`; `none` for the direct call alone, as in `impl Trait for` blocks; with `kind = "process"` neither of these two |
/// | `crate = "path"` | where fanfold is, if it was renamed |
///
/// The chunked argument is the first one, or those marked `#[chunk]`; all others are given to every chunk: `&T`
/// with `T: Sync`, or `Clone`. `DataFrame`, `Series` and `Column` are cut by rows, without a copy, by value or behind a
/// reference; their chunks run on plain threads, as many as the pool has, with Polars' own threads switched off.
///
/// # Errors
///
/// At compile time: arguments and results that cannot be sent to another thread, or cut, or put together; and
/// options that do not exist or contradict each other.
///
/// At run time, of functions with `timeout` and of `kind = "process"` that return `Result<_, E>` with
/// `E: From<TaskError>`: direct calls and maps give a time-out, a lost worker or a value that cannot cross as the
/// function's own `Err`. A submitted task gives it as its own, so in `submit(..).join()` it is the outer `Err`.
///
/// # Panics
///
/// A panic of the function goes on in the caller of `name(..)` and `map`; `submit` gives it as an error. A chunked call
/// panics if several `#[chunk]` arguments are of unequal length, and if chunk results do not fit each other (frames
/// with other columns) unless the function's error is a `PolarsError`, `GatherError` or boxed error.
///
/// Direct calls and maps also panic, with the reason, if the pool is closed, if `init` fails, or if a worker process is
/// lost. A direct call with `timeout`, and a process function, gives the last two as its `Err`, as above.
///
/// # Stack
///
/// Workers are threads with 2 MiB of stack, as Rust's own; the environment variable `RUST_MIN_STACK`, in bytes, gives them
/// more. A function that joins what it submits to its own pool runs it in place, and some 1,000 joins inside each other
/// overflow the stack.
///
/// # Examples
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
#[proc_macro_attribute]
pub fn parallel(options: TokenStream, item: TokenStream) -> TokenStream {
    expand(options.into(), &item.into()).into()
}

/// Makes a program able to start itself as a worker process, for functions of `kind = "process"`.
///
/// It puts `fanfold::init()` first in `main`. Other attributes of `main`, such as `#[tokio::main]`, stand below it.
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
    let options = options::parse(options, &mut errors);
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
    let plan = plan::Plan::new(function, options, &mut errors);
    let code = emit::emit(&plan, errors.is_empty());
    let errors = errors.into_tokens();
    quote!(#code #errors)
}
