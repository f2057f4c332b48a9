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
/// The function keeps its name: a call runs on a worker of the pool and waits for the result. A type of the same name
/// has the other ways to call it:
///
/// | call | does |
/// |---|---|
/// | `name(..)` | runs on a worker and waits; on a worker of the same pool it runs in place. In async code it would block a thread of the runtime, of which debug builds warn (feature `tokio`): await `name::submit(..)` there |
/// | `name::submit(..)` | queues the call and returns a `Task` to join or await |
/// | `name::map(items)` | runs it on many items, once it is ended by `.collect()` or the like. Items of a function of several arguments are tuples, of one without arguments `()` |
/// | `name::on(&pool)` | `.call(..)`, `.submit(..)` and `.map(items)` on a pool that is chosen at run time: `fanfold::On`. Not for async and process functions, methods with chunks, nor where the result is an `impl Trait`; maps of all of these have `.on(&pool)` |
/// | `name::serial(..)` | runs the original function on the calling thread |
///
/// The function's generics are on these functions, not on the type: `name::submit::<u8>(..)`.
///
/// # Methods
///
/// A method, and a function that names `Self`, has associated functions instead: `name_submit`, `name_map`,
/// `name_serial`, and `Type::name_on(&pool)`, where the receiver is the first argument of `call` and `submit`. Its
/// `submit`, and its `call` with a `timeout`, need a pool that is a `static`.
///
/// | receiver | `name_submit` | `name_map` |
/// |---|---|---|
/// | `&self`, with `Self: Sync` | takes `self: Arc<Self>`; none if the result borrows from it | `value.name_map(items)`: every call gets the same `&self`. Without other arguments `Type::name_map(receivers)` |
/// | `self: Arc<Self>` | takes the same | `value.name_map(items)`, with a clone of the `Arc` for every item |
/// | `self`, `self: Box<Self>` | takes the same | `Type::name_map(items)`: the receiver is the first of an item's parts |
/// | `&mut self` | none | `Type::name_map(items)`, as above: `things.iter_mut().zip(..)` |
///
/// `impl Trait for` and `trait` blocks cannot have them: write `companion = none`.
///
/// # Options
///
/// | option | meaning |
/// |---|---|
/// | `kind = "cpu"` | for functions that compute: the work-stealing pool, with one thread per core |
/// | `kind = "io"` | for functions that block: a pool of threads that grows with the work. An `async fn` (feature `tokio`): the call is a future that is polled where it is awaited; `submit` gives it to the caller's Tokio runtime, or to Fanfold's own |
/// | `kind = "process"` | for functions that may crash or must be killed: worker processes, which are the same program started again (feature `process`; `#[fanfold::main]` on `main`; `Pool::process` tells what they share with their parent). Arguments and results implement serde's traits, or are frames; the function has no generics, no `self` and no borrowed arguments. The death of a worker is `TaskError::WorkerDied` |
/// | `kind = "cluster"` | as `kind = "process"`; with the crate `fanfold-cluster`, and `FANFOLD_CLUSTER` set to the address of a scheduler, calls, maps and chunks run on the machines of that cluster |
/// | `chunks = N` | the call, or the task of `submit`, cuts its chunked argument into `N` balanced pieces, runs each, and gathers the results; `N` is a `usize` constant or `"auto"`: four per worker; fewer for a frame whose pieces would have less than 1,024 rows, more for one whose pieces would hold more than 64 MiB |
/// | `chunk_size = N` | the same, by the length of a piece |
/// | `by = ["key"]` | with chunks: a `DataFrame` or `&DataFrame` is cut between groups, so that no group is in two pieces; results are in the order of the groups' first rows (feature `polars`) |
/// | `overlap = N` | with chunks: each piece of a frame also has the N rows before it, which are cut off its result (feature `polars`) |
/// | `reduce = path` | folds chunk results with `fn(T, T) -> T`, in chunk order, instead of gathering them; if the function returns `Result<T, E>`, their values, and the first error is the result |
/// | `timeout = "2s"` | the call, `submit` and each item of `map` end with `TaskError::TimedOut`, counted from the start of the run on its worker, over all tries and pauses of `retries`; a call on a thread sees `fanfold::cancelled()` and its caller stops waiting, the future of an `async fn` is dropped, a worker process is killed (one that must be started first has the same time for that, but at least 1 s). Arguments are owned, the result is `Result<_, E>` with `E: From<TaskError>` |
/// | `deadline = "2s"` | a direct call or a task of `submit` that has not started by then, counted from its submission, never runs and ends with `TaskError::TimedOut`. One that runs by then sees `fanfold::cancelled()`, and no further chunk or item of it starts, which ends it with that error too; the worker process of a call without `chunks` is killed. Arguments and result as with `timeout`. A direct call of an `async fn` starts when it is polled, so only its tasks can be late. `map` is not limited by it |
/// | `retries = 3`, `backoff = "100ms"` | retries on `Err`, after a pause that doubles each time, less up to half of it at random; arguments are `Clone` |
/// | `init = path` | a state for each worker, made before its first call by a function that returns it or a `Result` of it, or by a call with arguments, `init = connect(URL)`, which each worker evaluates once and which cannot use the arguments of the function; the parameter marked `#[worker]` is `&mut` to it and is not part of the call |
/// | `pool = PATH` | your own `static` pool, or `static` `LazyLock` of one, instead of the kind's default |
/// | `progress = "label"` | a progress bar on `map` and chunked calls (feature `progress`) |
/// | `companion = Name` | another name for the companion type; `Self` for an associated function that names neither `self` nor `Self`; `none` for the direct call alone, as in `impl Trait for` blocks; with `kind = "process"` neither of these two |
/// | `crate = "path"` | the path of fanfold, if it was renamed |
///
/// The chunked arguments are those marked `#[chunk]`, or else the first one. Every chunk gets all other arguments: `&T`
/// with `T: Sync`, or a clone. `DataFrame`, `Series` and `Column`, or references to them, are cut by rows without a
/// copy. Their chunks run on plain threads, as many as the pool has, with Polars' own threads switched off.
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
