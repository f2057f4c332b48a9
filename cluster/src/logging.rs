//! The log of the scheduler and the executors: lines on standard error.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use log::{LevelFilter, Log, Metadata, Record};

/// The environment variable with the level of the log: `error`, `warn`, `info`, `debug` or `trace`.
const LEVEL_VARIABLE: &str = "FANFOLD_CLUSTER_LOG";

/// Writes the engine's warnings, and this crate's records from the chosen level on.
struct StandardError {
    part: String,
    /// The most detailed level of the engine's records.
    engine: LevelFilter,
}

impl Log for StandardError {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let is_ours = metadata.target().starts_with("fanfold");
        metadata.level() <= if is_ours { log::max_level() } else { self.engine }
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs() % 86_400);
            let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
            let (level, part) = (record.level().as_str().to_ascii_lowercase(), &self.part);
            // A closed standard error must not end the process.
            let _ =
                writeln!(std::io::stderr(), "{hour:02}:{minute:02}:{second:02} UTC {level}: {part}: {}", record.args());
        }
    }

    fn flush(&self) {}
}

/// Starts the log of this part of a cluster, such as `scheduler`. Unless the environment chooses a level, a part of a
/// local cluster is quiet: its program reports what goes wrong. A program that has a logger keeps it.
pub(crate) fn start(part: String, is_local: bool) {
    let chosen = std::env::var(LEVEL_VARIABLE).ok().and_then(|level| level.parse().ok());
    let (ours, engine) = match (chosen, is_local) {
        (Some(level), _) => (level, level),
        (None, true) => (LevelFilter::Error, LevelFilter::Off),
        (None, false) => (LevelFilter::Info, LevelFilter::Error),
    };
    // The logger lives as long as the process.
    let logger = Box::leak(Box::new(StandardError { part, engine }));
    if log::set_logger(logger).is_ok() {
        log::set_max_level(ours);
    }
}
