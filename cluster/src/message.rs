//! What the driver and the executors send each other inside of a job: a [`Request`] for each chunk, and its [`Reply`].

use std::time::Duration;

use fanfold::backend::CallFailure;

/// A chunk: calls of one function.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Request {
    /// The name of the function's entry.
    #[prost(string, tag = "1")]
    pub(crate) entry: String,
    /// The driver's build id.
    #[prost(fixed64, tag = "2")]
    pub(crate) build: u64,
    /// The encoded arguments of each call.
    #[prost(bytes = "vec", repeated, tag = "3")]
    pub(crate) arguments: Vec<Vec<u8>>,
    /// The object with the arguments, if they are too large for the plan: an encoded [`Arguments`].
    #[prost(string, optional, tag = "4")]
    pub(crate) stored_arguments: Option<String>,
    /// The rows that the executor reads from files, as the frame of the only call.
    #[prost(message, repeated, tag = "5")]
    pub(crate) rows: Vec<FileRows>,
    /// The time limit of each call, in nanoseconds.
    #[prost(uint64, optional, tag = "6")]
    pub(crate) timeout: Option<u64>,
    /// How often each call is tried, if its worker process dies.
    #[prost(uint32, tag = "7")]
    pub(crate) attempts: u32,
    /// The folder of the driver's connection in the store, for large results and the lease.
    #[prost(string, optional, tag = "8")]
    pub(crate) folder: Option<String>,
    /// The file that the executor writes the result of the only call to.
    #[prost(message, optional, tag = "9")]
    pub(crate) sink: Option<Sink>,
    /// The name of the object for a large result.
    #[prost(string, tag = "10")]
    pub(crate) result_name: String,
}

/// Arguments in an object of their own.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Arguments {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub(crate) calls: Vec<Vec<u8>>,
}

/// Adjacent rows of a Parquet file.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct FileRows {
    #[prost(string, tag = "1")]
    pub(crate) path: String,
    #[prost(uint64, tag = "2")]
    pub(crate) first: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) count: u64,
}

/// A Parquet file for the result of a chunk.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Sink {
    #[prost(string, tag = "1")]
    pub(crate) path: String,
    /// Whether the function returns a `Result`.
    #[prost(bool, tag = "2")]
    pub(crate) fallible: bool,
}

/// What an executor answers to a request.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Reply {
    /// The outcome of each call.
    #[prost(message, repeated, tag = "1")]
    pub(crate) outcomes: Vec<Outcome>,
    /// The object with the outcomes, if they are large: an encoded `Reply`.
    #[prost(string, optional, tag = "2")]
    pub(crate) stored: Option<String>,
    /// Why the executor ran none of the calls.
    #[prost(string, optional, tag = "3")]
    pub(crate) refused: Option<String>,
}

/// The outcome of a call: a result, or a failure.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Outcome {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub(crate) result: Option<Vec<u8>>,
    #[prost(message, optional, tag = "2")]
    pub(crate) failure: Option<Failure>,
}

/// A [`CallFailure`].
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Failure {
    #[prost(enumeration = "FailureKind", tag = "1")]
    pub(crate) kind: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    #[prost(string, optional, tag = "3")]
    pub(crate) location: Option<String>,
    #[prost(int32, optional, tag = "4")]
    pub(crate) signal: Option<i32>,
    #[prost(int32, optional, tag = "5")]
    pub(crate) code: Option<i32>,
    /// In nanoseconds.
    #[prost(uint64, tag = "6")]
    pub(crate) after: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum FailureKind {
    Lost = 0,
    Panicked = 1,
    Init = 2,
    TimedOut = 3,
    Cancelled = 4,
    Codec = 5,
}

impl From<Result<Vec<u8>, CallFailure>> for Outcome {
    fn from(outcome: Result<Vec<u8>, CallFailure>) -> Self {
        match outcome {
            Ok(result) => Self { result: Some(result), failure: None },
            Err(failure) => Self { result: None, failure: Some(failure.into()) },
        }
    }
}

impl From<Outcome> for Result<Vec<u8>, CallFailure> {
    fn from(outcome: Outcome) -> Self {
        match (outcome.result, outcome.failure) {
            (_, Some(failure)) => Err(failure.into()),
            // An empty result is not written.
            (result, None) => Ok(result.unwrap_or_default()),
        }
    }
}

impl From<CallFailure> for Failure {
    fn from(failure: CallFailure) -> Self {
        let of = |kind: FailureKind, message| Self { kind: kind.into(), message, ..Self::default() };
        match failure {
            CallFailure::Panicked { message, location } => Self { location, ..of(FailureKind::Panicked, message) },
            CallFailure::Init { message } => of(FailureKind::Init, message),
            CallFailure::TimedOut { after } => {
                let after = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
                Self { after, ..of(FailureKind::TimedOut, String::new()) }
            }
            CallFailure::Cancelled => of(FailureKind::Cancelled, String::new()),
            CallFailure::Lost { message, signal, code } => Self { signal, code, ..of(FailureKind::Lost, message) },
            CallFailure::Codec { message } => of(FailureKind::Codec, message),
            other => of(FailureKind::Lost, format!("{other:?}")),
        }
    }
}

impl From<Failure> for CallFailure {
    fn from(failure: Failure) -> Self {
        let kind = failure.kind();
        let Failure { message, location, signal, code, after, .. } = failure;
        match kind {
            FailureKind::Lost => Self::Lost { message, signal, code },
            FailureKind::Panicked => Self::Panicked { message, location },
            FailureKind::Init => Self::Init { message },
            FailureKind::TimedOut => Self::TimedOut { after: Duration::from_nanos(after) },
            FailureKind::Cancelled => Self::Cancelled,
            FailureKind::Codec => Self::Codec { message },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    #[test]
    fn outcomes_arrive_as_they_were() {
        let outcomes: [Result<Vec<u8>, CallFailure>; 8] = [
            Ok(vec![1, 2, 3]),
            Ok(Vec::new()),
            Err(CallFailure::Panicked { message: "no".into(), location: Some("a.rs:1:2".into()) }),
            Err(CallFailure::Init { message: "no state".into() }),
            Err(CallFailure::TimedOut { after: Duration::from_millis(3) }),
            Err(CallFailure::Cancelled),
            Err(CallFailure::Lost { message: "killed".into(), signal: Some(9), code: None }),
            Err(CallFailure::Codec { message: "too short".into() }),
        ];
        for outcome in outcomes {
            let bytes = Outcome::from(outcome.clone()).encode_to_vec();
            let read = Outcome::decode(&*bytes).expect("it was written so");
            assert_eq!(Result::from(read), outcome);
        }
    }
}
