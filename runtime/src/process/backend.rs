//! Backends: places outside of this machine's process pools, such as a cluster, that run process functions.
//!
//! A backend gets encoded calls and returns encoded results. On its machines, [`answer`] runs such a call in a worker
//! process. `fanfold-cluster` implements it; Fanfold itself knows no engine and no network.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use super::registry::{self, ENTRIES};
use super::role::is_worker_process;
use super::serve::{EncodedCall, Serving};
use crate::error::{Payload, TaskError};
use crate::pool::Pool;
use crate::sys::try_once::TryOnceLock;

/// The environment variable with the address of the cluster for functions of `kind = "cluster"`.
const CLUSTER_VARIABLE: &str = "FANFOLD_CLUSTER";

/// The threads that wait for backends. A call of a backend keeps one of them until its result is there, so their number
/// is the most calls of this program that are in flight.
static WAITING: Pool = Pool::io("backend").threads(64);

/// Calls of one process function, for a [`Backend`].
///
/// The arguments are encoded: [`answer`] decodes them in another process of the same program.
#[non_exhaustive]
pub struct Calls {
    /// The name of the function's entry in the program's table, for [`answer`].
    pub entry: &'static str,
    /// The path of the function, for messages.
    pub function: &'static str,
    /// The encoded arguments of each call.
    pub arguments: Vec<Vec<u8>>,
    /// The time limit of each call, counted from its start on its worker.
    pub timeout: Option<Duration>,
    /// The map, chunked call or single call that these calls are a part of. The calls of a group are needed and
    /// cancelled together, so a backend may hold the result of one until all are there. Other groups wait for none.
    pub group: u64,
}

impl Calls {
    /// Calls of the function with this entry and path, as a group of their own. They have no time limit.
    #[must_use]
    pub fn new(entry: &'static str, function: &'static str, arguments: Vec<Vec<u8>>) -> Self {
        Self { entry, function, arguments, timeout: None, group: next_group() }
    }
}

/// The number of a new group, as [`Calls`] has it.
#[must_use]
pub fn next_group() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Where the calls of a function run: a backend, and the group that they make there.
#[derive(Clone, Copy)]
pub(crate) struct Placement {
    pub(crate) backend: BackendId,
    pub(crate) group: u64,
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls")
            .field("function", &self.function)
            .field("calls", &self.arguments.len())
            .finish_non_exhaustive()
    }
}

/// Why a call of a backend has no result. It becomes the [`TaskError`] of the call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallFailure {
    /// The function panicked, with this message, at `file:line:column`.
    Panicked {
        /// The panic's message.
        message: String,
        /// Where it panicked.
        location: Option<String>,
    },
    /// The worker's state could not be made.
    Init {
        /// The function, and the error of its initializer.
        message: String,
    },
    /// The call took longer than its limit.
    TimedOut {
        /// The limit.
        after: Duration,
    },
    /// The call was cancelled.
    Cancelled,
    /// The worker process died, or the backend could not run the call.
    Lost {
        /// What happened, and where.
        message: String,
        /// The number of the signal that killed the worker.
        signal: Option<i32>,
        /// The worker's exit code.
        code: Option<i32>,
    },
    /// Arguments or results could not be encoded or decoded.
    Codec {
        /// Which value, and why.
        message: String,
    },
}

impl CallFailure {
    /// A call that no worker could run.
    #[must_use]
    pub fn lost(message: impl Into<String>) -> Self {
        Self::Lost { message: message.into(), signal: None, code: None }
    }

    /// The error of a call of this function.
    #[must_use]
    pub fn of_function(self, function: &'static str) -> TaskError {
        match self {
            Self::Panicked { message, location } => {
                let payload = Payload::new(Box::new(message.clone()));
                TaskError::Panicked { message, function, location, payload }
            }
            Self::Init { message } => TaskError::Init { message },
            Self::TimedOut { after } => TaskError::TimedOut { after },
            Self::Cancelled => TaskError::Cancelled,
            Self::Lost { message, signal, code } => TaskError::worker_died(function, message, signal, code),
            Self::Codec { message } => TaskError::wire(function, message),
        }
    }
}

impl From<TaskError> for CallFailure {
    fn from(error: TaskError) -> Self {
        match error {
            TaskError::Panicked { message, location, .. } => Self::Panicked { message, location },
            TaskError::Init { message } => Self::Init { message },
            TaskError::TimedOut { after } => Self::TimedOut { after },
            TaskError::Cancelled => Self::Cancelled,
            TaskError::WorkerDied { message, signal, code, .. } => Self::Lost { message, signal, code },
            TaskError::Wire { message, .. } => Self::Codec { message },
            TaskError::PoolClosed => Self::lost("the pool of worker processes was closed"),
        }
    }
}

/// A place outside of this process that runs process functions, such as a cluster.
pub trait Backend: Send + Sync + 'static {
    /// Runs the calls, and waits for all results. They are in the order of the calls, one for each.
    ///
    /// The calling thread runs the caller's task: where [`cancelled`](crate::cancelled) is true on it, the results are
    /// needed no longer.
    fn run(&self, calls: Calls) -> Vec<Result<Vec<u8>, CallFailure>>;
}

/// A registered [`Backend`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BackendId(usize);

static BACKENDS: RwLock<Vec<Option<Arc<dyn Backend>>>> = RwLock::new(Vec::new());

/// Registers a backend, which functions may then be run on, until it is [unregistered](unregister).
#[must_use]
pub fn register(backend: Arc<dyn Backend>) -> BackendId {
    let mut backends = BACKENDS.write().unwrap_or_else(PoisonError::into_inner);
    backends.push(Some(backend));
    BackendId(backends.len() - 1)
}

/// Removes a backend. Later calls on it fail, and those that run are not affected.
pub fn unregister(id: BackendId) {
    let mut backends = BACKENDS.write().unwrap_or_else(PoisonError::into_inner);
    let removed = backends.get_mut(id.0).and_then(Option::take);
    drop(backends);
    drop(removed);
}

/// Runs calls on a backend. Results are in order, one for each call.
pub(crate) fn run(id: BackendId, calls: Calls) -> Vec<Result<Vec<u8>, TaskError>> {
    let backend = BACKENDS.read().unwrap_or_else(PoisonError::into_inner).get(id.0).cloned().flatten();
    let (function, count) = (calls.function, calls.arguments.len());
    let mut outcomes = match backend {
        Some(backend) => backend.run(calls),
        None => Vec::new(),
    };
    let missing = "it ran on a cluster whose connection was dropped: keep the `Cluster` for as long as it has calls";
    outcomes.resize(count, Err(CallFailure::lost(missing)));
    outcomes.into_iter().map(|outcome| outcome.map_err(|failure| failure.of_function(function))).collect()
}

/// The pool whose threads wait for backends.
#[must_use]
pub fn waiting_pool() -> &'static Pool {
    &WAITING
}

/// Connects to the cluster at an address, as `FANFOLD_CLUSTER` has it.
pub type Connect = fn(&str) -> Result<BackendId, String>;

static CONNECT: OnceLock<Connect> = OnceLock::new();

/// Sets how functions of `kind = "cluster"` connect to the cluster that `FANFOLD_CLUSTER` names. The first call counts.
pub fn set_connect(connect: Connect) {
    // A second engine in one program is a mistake that its first call would not notice: the first one stays.
    let _ = CONNECT.set(connect);
}

/// The cluster that `FANFOLD_CLUSTER` names; `None` if it is not set, and in a worker process: calls inside of a call
/// stay in its process, as a cluster whose slots all wait for calls of their own would stand still.
///
/// # Errors
///
/// If the cluster cannot be reached. The next call tries again.
pub(crate) fn of_environment() -> Result<Option<BackendId>, String> {
    static FOUND: TryOnceLock<BackendId> = TryOnceLock::new();
    if is_worker_process() {
        return Ok(None);
    }
    let Some(address) = std::env::var(CLUSTER_VARIABLE).ok().filter(|address| !address.is_empty()) else {
        return Ok(None);
    };
    let connect = || match CONNECT.get() {
        Some(connect) => connect(&address),
        None => Err(format!(
            "{CLUSTER_VARIABLE}=`{address}` is set, but this program has no cluster engine: call \
             `fanfold_cluster::init()` first in `main`, or unset the variable"
        )),
    };
    FOUND.get_or_try_init(connect).map(|id| Some(*id))
}

/// A call that [`answer`] runs.
pub struct Answer<'a> {
    /// The name of the function's entry, as in [`Calls`].
    pub entry: &'a str,
    /// The encoded arguments.
    pub arguments: &'a [u8],
    /// The time limit.
    pub timeout: Option<Duration>,
    /// How often the call is tried in all, if its worker process dies.
    pub attempts: u32,
    /// Whether the caller needs the result no longer.
    pub cancelled: &'a (dyn Fn() -> bool + Sync),
}

impl fmt::Debug for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("entry", &self.entry).finish_non_exhaustive()
    }
}

/// Runs a call that another process of the same program has encoded, in a worker process of the default process pool,
/// and waits for it.
///
/// # Errors
///
/// [`CallFailure`] if the program has no function of this name, or the function has no result.
pub fn answer(call: &Answer<'_>) -> Result<Vec<u8>, CallFailure> {
    let Some(entry) = ENTRIES.iter().find(|entry| entry.name() == call.entry) else {
        return Err(CallFailure::Codec {
            message: format!(
                "this program has no function `{}`: all parts of a cluster must be the same build",
                call.entry
            ),
        });
    };
    let mut serving = Serving::Encoded(EncodedCall { call, outcome: None });
    registry::serve_entry(entry, &mut serving);
    match serving {
        Serving::Encoded(EncodedCall { outcome: Some(outcome), .. }) => outcome.map_err(CallFailure::from),
        _ => Err(CallFailure::lost("the function's entry gave no result")),
    }
}

/// An error of a whole input, which is displayed without a chunk.
#[cfg(feature = "polars")]
#[must_use]
pub fn input_error(error: polars::prelude::PolarsError) -> crate::ChunkError {
    crate::ChunkError::of_input(error)
}

/// The encoded arguments of a function with one frame as its only argument.
///
/// # Errors
///
/// If the frame cannot be sent to another process.
#[cfg(feature = "polars")]
pub fn frame_arguments(frame: &polars::prelude::DataFrame) -> Result<Vec<u8>, String> {
    let (mut bytes, mut attachments) = (Vec::new(), Vec::new());
    let mut out = super::Encoder::across_machines(&mut bytes, &mut attachments);
    super::Direct::write(frame, &mut out).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// The frame in the encoded result of a function; `None` if the function returned an error. `fallible` says whether it
/// returns a `Result`.
///
/// # Errors
///
/// If the bytes are no such result.
#[cfg(feature = "polars")]
pub fn frame_of_result(bytes: &[u8], fallible: bool) -> Result<Option<polars::prelude::DataFrame>, String> {
    let mut input = super::Decoder::new(bytes, Vec::new());
    let is_frame = !fallible || input.value::<bool>().map_err(|error| error.to_string())?;
    is_frame.then(|| super::Direct::read(&mut input).map_err(|error| error.to_string())).transpose()
}
