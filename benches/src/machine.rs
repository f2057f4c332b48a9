//! The machine on which the figures were measured.

use std::fs;
use std::num::NonZero;
use std::thread;

use serde::{Deserialize, Serialize};

/// A machine, as its operating system describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Threads that can run at once.
    pub cores: usize,
    /// Memory, in GiB.
    pub memory: u64,
    /// The kernel and its version.
    pub kernel: String,
    /// The compiler that built the comparison.
    pub rustc: String,
}

impl Machine {
    /// The current machine.
    #[must_use]
    pub fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let line = |text: &str, key: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(key)?.split_once(':'));
            found.map_or_else(|| "unknown".into(), |(_, value)| value.trim().to_owned())
        };
        let cpuinfo = read("/proc/cpuinfo");
        let of_cpu = |key| line(&cpuinfo, key);
        let memory = line(&read("/proc/meminfo"), "MemTotal");
        let kilobytes: u64 = memory.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let (family, model) = (of_cpu("cpu family"), of_cpu("model"));
        Self {
            cpu: format!("{} (family {family}, model {model})", of_cpu("model name")),
            cores: thread::available_parallelism().map_or(1, NonZero::get),
            memory: kilobytes.div_ceil(1 << 20),
            kernel: format!("{} {}", read("/proc/sys/kernel/ostype").trim(), read("/proc/sys/kernel/osrelease").trim()),
            rustc: env!("RUSTC_VERSION").to_owned(),
        }
    }

    /// A one-line description.
    #[must_use]
    pub fn line(&self) -> String {
        let Self { cpu, cores, memory, kernel, rustc } = self;
        format!("{cpu}, {cores} cores, {memory} GiB, {kernel}, {rustc}")
    }
}
