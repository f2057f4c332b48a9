//! How many threads pools have that do not say it themselves: [`configure`], else the environment, else the machine.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A default pool whose size can be set.
#[derive(Clone, Copy)]
pub(crate) enum Setting {
    Cpu,
    Io,
    Process,
}

impl Setting {
    fn variable(self) -> &'static str {
        match self {
            Setting::Cpu => "FANFOLD_CPU_THREADS",
            Setting::Io => "FANFOLD_IO_THREADS",
            Setting::Process => "FANFOLD_PROCESSES",
        }
    }

    fn pool(self) -> &'static str {
        match self {
            Setting::Cpu => "cpu",
            Setting::Io => "io",
            Setting::Process => "process",
        }
    }

    fn of(self, settings: &mut Settings) -> &mut Known {
        match self {
            Setting::Cpu => &mut settings.cpu,
            Setting::Io => &mut settings.io,
            Setting::Process => &mut settings.process,
        }
    }
}

#[derive(Clone, Copy)]
struct Known {
    threads: Option<usize>,
    /// The default pool has asked: from then on the number stands.
    used: bool,
}

impl Known {
    const NEW: Self = Self { threads: None, used: false };
}

pub(crate) struct Settings {
    cpu: Known,
    io: Known,
    process: Known,
}

static SETTINGS: Mutex<Settings> = Mutex::new(Settings { cpu: Known::NEW, io: Known::NEW, process: Known::NEW });

pub(crate) fn settings() -> MutexGuard<'static, Settings> {
    SETTINGS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The size of a pool that starts now and does not say its own. From then on that of a default one stands.
pub(crate) fn threads(setting: Setting, default: usize, is_default: bool) -> Result<usize, BadVariable> {
    let configured = setting.of(&mut settings()).threads;
    // Reading the environment allocates: not under the lock.
    let threads = match configured {
        Some(threads) => threads,
        None => from_environment(setting.variable())?.unwrap_or(default),
    };
    let mut settings = settings();
    let known = setting.of(&mut settings);
    known.used |= is_default;
    Ok(known.threads.unwrap_or(threads))
}

fn from_environment(name: &'static str) -> Result<Option<usize>, BadVariable> {
    let Some(value) = std::env::var_os(name).filter(|value| !value.is_empty()) else { return Ok(None) };
    let number = value.to_str().and_then(|text| text.trim().parse().ok()).filter(|number| *number > 0);
    number.map(Some).ok_or_else(|| BadVariable { name, value: value.to_string_lossy().into_owned() })
}

/// An environment variable that is no number of threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadVariable {
    name: &'static str,
    value: String,
}

impl fmt::Display for BadVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the environment variable {} is `{}`, which is no number of threads: set it to 1 or more, or unset it",
            self.name, self.value
        )
    }
}

impl std::error::Error for BadVariable {}

/// What `FANFOLD_SERIAL` says, once it was read: 0 before.
static SERIAL: AtomicU8 = AtomicU8::new(0);
const IS_SERIAL: u8 = 1;
const IS_PARALLEL: u8 = 2;

/// Whether everything runs on the caller's thread: `FANFOLD_SERIAL=1`, for debugging.
#[inline]
pub(crate) fn serial() -> bool {
    match SERIAL.load(Ordering::Relaxed) {
        IS_SERIAL => true,
        IS_PARALLEL => false,
        _ => read_serial(),
    }
}

#[cold]
fn read_serial() -> bool {
    let serial = match std::env::var_os("FANFOLD_SERIAL").as_ref().map(|value| value.to_string_lossy()).as_deref() {
        Some("1" | "true") => true,
        Some("" | "0" | "false") | None => false,
        Some(other) => panic!("the environment variable FANFOLD_SERIAL is `{other}`: set it to 1 or 0, or unset it"),
    };
    SERIAL.store(if serial { IS_SERIAL } else { IS_PARALLEL }, Ordering::Relaxed);
    serial
}

/// Sets the sizes of the default pools, before their first use. It beats `FANFOLD_CPU_THREADS`, `FANFOLD_IO_THREADS`
/// and `FANFOLD_PROCESSES`.
///
/// `FANFOLD_SERIAL` is no size: `1` or `true` runs everything on the caller's thread, `0`, `false` or nothing does not,
/// and the first call panics on anything else.
///
/// # Examples
///
/// ```
/// # fn main() -> Result<(), fanfold::ConfigureError> {
/// fanfold::configure().cpu_threads(4).io_threads(64).apply()?;
/// assert_eq!(fanfold::Pool::cpu_default().stats().threads, 4);
///
/// let late = fanfold::configure().cpu_threads(2).apply();
/// assert!(late.is_err()); // it has started
/// # Ok(())
/// # }
/// ```
pub fn configure() -> Configure {
    Configure { cpu: None, io: None, process: None }
}

/// Sizes about to be set; [`configure`] makes one, [`apply`](Self::apply) sets them.
#[derive(Clone, Copy, Debug)]
#[must_use = "nothing is set before `apply`"]
pub struct Configure {
    cpu: Option<usize>,
    io: Option<usize>,
    process: Option<usize>,
}

impl Configure {
    /// Threads of the cpu pool, and of the crew of DataFrame chunks; one a core unless set.
    pub fn cpu_threads(mut self, threads: usize) -> Self {
        self.cpu = Some(threads);
        self
    }

    /// Threads of the io pool at most; 256 unless set.
    pub fn io_threads(mut self, threads: usize) -> Self {
        self.io = Some(threads);
        self
    }

    /// Worker processes; one a core unless set.
    pub fn processes(mut self, processes: usize) -> Self {
        self.process = Some(processes);
        self
    }

    /// Sets what was named; nothing if any of it cannot be set.
    ///
    /// # Errors
    ///
    /// [`ConfigureError`] if a number is 0, or its pool has started.
    pub fn apply(self) -> Result<(), ConfigureError> {
        let mut settings = settings();
        let wanted = [(Setting::Cpu, self.cpu), (Setting::Io, self.io), (Setting::Process, self.process)];
        for (setting, threads) in wanted {
            let pool = setting.pool();
            match threads {
                Some(0) => return Err(ConfigureError::NoThreads { pool }),
                Some(_) if setting.of(&mut settings).used => return Err(ConfigureError::Started { pool }),
                _ => {}
            }
        }
        for (setting, threads) in wanted {
            let known = setting.of(&mut settings);
            known.threads = threads.or(known.threads);
        }
        Ok(())
    }
}

/// Why a pool's size could not be set.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigureError {
    /// No pool can have 0 threads.
    NoThreads {
        /// The pool: `cpu`, `io` or `process`.
        pool: &'static str,
    },
    /// The pool has started, and its size stands.
    Started {
        /// The pool: `cpu`, `io` or `process`.
        pool: &'static str,
    },
}

impl fmt::Display for ConfigureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoThreads { pool } => write!(f, "the {pool} pool cannot have 0 threads: give it at least 1"),
            Self::Started { pool } => {
                write!(f, "the {pool} pool has started: call `configure` before the first use of it, first in `main`")
            }
        }
    }
}

impl std::error::Error for ConfigureError {}
