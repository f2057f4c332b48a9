//! [`StartError`]: why a worker process could not be started.

use std::fmt;
use std::io;

use super::exit_report::ExitReport;
use super::handshake::HANDSHAKE_TIMEOUT;
use super::os::refusal;

/// Why a worker process could not be started.
#[derive(Debug)]
pub(super) enum StartError {
    /// The caller was cancelled.
    Cancelled,
    /// The caller's time limit has passed.
    TimedOut,
    System(io::Error),
    NoAnswer,
    OtherBuild,
    /// The worker reported why it cannot start.
    Refused(String),
    Ended(ExitReport, io::Error),
}

impl StartError {
    /// Whether another start may succeed.
    pub(super) fn may_succeed_later(&self) -> bool {
        match self {
            Self::System(error) => refusal::may_succeed_later(error),
            Self::Cancelled | Self::TimedOut | Self::Refused(_) | Self::Ended(..) => true,
            Self::NoAnswer | Self::OtherBuild => false,
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const INIT: &str =
            "`fanfold::init()` must come first in `main`, and what the program does before that must end";
        match self {
            Self::Cancelled => f.write_str("its call was cancelled"),
            Self::TimedOut => write!(f, "a worker process did not become ready within its call's time limit: {INIT}"),
            Self::System(error) => write!(f, "a worker process could not be started: {error}"),
            Self::NoAnswer => {
                write!(f, "the worker process did not answer within {} s: {INIT}", HANDSHAKE_TIMEOUT.as_secs())
            }
            Self::OtherBuild => f.write_str("the worker process is another build of this program"),
            Self::Refused(why) => write!(f, "the worker process could not start: {why}"),
            // A program without `init()` runs to its end, or closes the socket that it takes for standard input.
            Self::Ended(report, error) if report.signal().is_none() => write!(
                f,
                "the worker process ended before it was ready ({report}; {error}): {INIT}; if it does, what the worker \
                 wrote to standard error may say more"
            ),
            Self::Ended(report, _) => write!(f, "the worker process ended before it was ready: {report}"),
        }
    }
}
