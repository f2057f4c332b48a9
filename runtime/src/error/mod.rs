//! [`TaskError`]: why a task has no result.

pub(crate) mod panics;

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

/// Why a [`Task`](crate::Task) has no result.
///
/// # Examples
///
/// ```
/// use fanfold::{TaskError, parallel};
///
/// #[parallel(kind = "cpu")]
/// fn share(total: u32, people: u32) -> u32 {
///     total / people
/// }
///
/// let error = share::submit(10, 0).join().unwrap_err();
/// assert!(matches!(error, TaskError::Panicked { .. }));
/// assert!(error.to_string().contains("attempt to divide by zero"));
/// ```
#[non_exhaustive]
#[derive(Debug)]
pub enum TaskError {
    /// The function panicked.
    #[non_exhaustive]
    Panicked {
        /// The panic's message, or a note that its payload was not text.
        message: String,
        /// The path of the function that ran, as `module::name`.
        function: &'static str,
        /// Where it panicked, as `file:line:column`. `None` if another panic hook was set after Fanfold's first task,
        /// or if the panic came from a call on another thread, which the function waited for.
        location: Option<String>,
        /// The panic's payload; [`TaskError::resume`] resumes the panic with it. That of a worker process is the
        /// message, as a `String`.
        payload: Payload,
    },
    /// The task was cancelled before it had a result.
    Cancelled,
    /// The task ran longer than its time limit, or had not started by its deadline.
    TimedOut {
        /// The limit of the function, counted from the start of the run on its worker; or that of
        /// [`AsCompleted::timeout`](crate::AsCompleted::timeout), counted from the start of the wait; or the time to the
        /// [`Deadline`](crate::Deadline) by which the task must have started, counted from its submission: 0 for a
        /// deadline that had passed. While the operating
        /// system refuses the pool a thread and none of its jobs end, a function's time counts from its submission.
        after: Duration,
    },
    /// The worker could not make the state that the function needs (`init = path`).
    #[non_exhaustive]
    Init {
        /// The function, and the error or the panic of its initializer.
        message: String,
    },
    /// The pool was closed before the task started.
    PoolClosed,
    /// The worker process ended while it ran the task, or could not be started.
    #[non_exhaustive]
    WorkerDied {
        /// The path of the function that ran, as `module::name`.
        function: &'static str,
        /// How the process ended.
        message: String,
        /// The number of the signal that killed it, if one did: 9 is `SIGKILL`, 11 `SIGSEGV`. If other code of the
        /// program reaps it, or `SIGCHLD` is ignored, signal and code are known on Linux 6.15 and newer only.
        signal: Option<i32>,
        /// Its exit code, if it exited.
        code: Option<i32>,
    },
    /// An argument or the result could not be serialized, or could not be deserialized on the other side.
    #[non_exhaustive]
    Wire {
        /// The path of the function that was called, as `module::name`.
        function: &'static str,
        /// Which value, and why.
        message: String,
    },
}

impl TaskError {
    pub(crate) fn panicked(function: &'static str, location: Option<String>, payload: Box<dyn Any + Send>) -> Self {
        Self::Panicked { message: panic_message(&*payload), function, location, payload: Payload(payload) }
    }

    #[cfg(feature = "process")]
    pub(crate) fn worker_died(function: &'static str, message: String, signal: Option<i32>, code: Option<i32>) -> Self {
        Self::WorkerDied { function, message, signal, code }
    }

    #[cfg(feature = "process")]
    pub(crate) fn wire(function: &'static str, message: String) -> Self {
        Self::Wire { function, message }
    }

    /// The error with the index of the item of a map in its message, if it has a message.
    #[cfg(feature = "process")]
    pub(crate) fn of_item(mut self, index: usize) -> Self {
        match &mut self {
            Self::Panicked { message, payload, .. } => {
                message.insert_str(0, &format!("item {index}: "));
                *payload = Payload::new(Box::new(message.clone()));
            }
            Self::Init { message } | Self::WorkerDied { message, .. } | Self::Wire { message, .. } => {
                message.insert_str(0, &format!("item {index}: "));
            }
            Self::Cancelled | Self::TimedOut { .. } | Self::PoolClosed => {}
        }
        self
    }

    /// Resumes the panic of a task on this thread. Returns any other error.
    ///
    /// # Panics
    ///
    /// With the task's own payload, if the error is [`TaskError::Panicked`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use fanfold::parallel;
    /// #[parallel(kind = "cpu")]
    /// fn fail() {
    ///     std::panic::panic_any(7_u8);
    /// }
    ///
    /// let error = fail::submit().join().unwrap_err();
    /// let payload = std::panic::catch_unwind(|| error.resume()).unwrap_err();
    /// assert_eq!(payload.downcast_ref(), Some(&7_u8));
    /// ```
    #[must_use = "an error other than a panic is returned"]
    pub fn resume(self) -> Self {
        match self {
            Self::Panicked { payload, .. } => std::panic::resume_unwind(payload.0),
            other => other,
        }
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked { message, function, location, .. } => {
                write!(f, "`{function}` panicked")?;
                if let Some(location) = location {
                    write!(f, " at {location}")?;
                }
                write!(f, ": {message}")
            }
            Self::Init { message } => f.write_str(message),
            Self::WorkerDied { function, message, .. } | Self::Wire { function, message } => {
                write!(f, "`{function}` has no result: {message}")
            }
            Self::Cancelled => f.write_str("the task was cancelled"),
            Self::TimedOut { after } if after.is_zero() => {
                f.write_str("the deadline of the task had passed when it was submitted")
            }
            Self::TimedOut { after } => write!(f, "the task was not done within {after:?}"),
            Self::PoolClosed => {
                f.write_str("the pool was closed before the task started: submit before `shutdown`, or to another pool")
            }
        }
    }
}

impl Error for TaskError {}

/// So that `?` works in functions that return `std::io::Result`. The error's kind is `TimedOut`, `InvalidData` for
/// [`TaskError::Wire`], or `Other`; `io::Error::downcast` gives the `TaskError` back.
impl From<TaskError> for io::Error {
    fn from(error: TaskError) -> Self {
        let kind = match error {
            TaskError::TimedOut { .. } => io::ErrorKind::TimedOut,
            TaskError::Wire { .. } => io::ErrorKind::InvalidData,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

/// A panic's payload. It can be shared between threads, as only its owner can access the value.
pub struct Payload(Box<dyn Any + Send>);

// SAFETY: a `&Payload` gives no access to the value: `into_inner` takes `self`, and `Debug` does not read the value.
unsafe impl Sync for Payload {}

// The value is only moved out as a whole, so no broken invariant of it can be observed.
impl std::panic::UnwindSafe for Payload {}
impl std::panic::RefUnwindSafe for Payload {}

impl Payload {
    #[cfg(feature = "process")]
    pub(crate) fn new(payload: Box<dyn Any + Send>) -> Self {
        Self(payload)
    }

    /// The payload, as `std::panic::catch_unwind` returns it.
    #[must_use]
    pub fn into_inner(self) -> Box<dyn Any + Send> {
        self.0
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Payload(..)")
    }
}

/// The message of a panic.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a payload that is not text".to_owned()
    }
}
