//! Load of the machine by other processes during a measurement.

use std::fs;

/// Processor time of the machine, and the part of this process, in ticks.
#[derive(Clone, Copy)]
struct Ticks {
    all: f64,
    busy: f64,
    ours: f64,
}

/// A running measurement.
pub(crate) struct Load(Option<Ticks>);

impl Load {
    /// Starts a measurement.
    pub(crate) fn begin() -> Self {
        Self(ticks())
    }

    /// The share of all cores that other processes have used since, including the host of a virtual machine; 0 if the
    /// operating system does not report it.
    pub(crate) fn of_others(&self) -> f64 {
        let (Some(before), Some(after)) = (self.0, ticks()) else { return 0.0 };
        let others = (after.busy - before.busy) - (after.ours - before.ours);
        (others / (after.all - before.all).max(1.0)).max(0.0)
    }
}

fn ticks() -> Option<Ticks> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    // user nice system idle iowait irq softirq steal
    let fields: Vec<f64> =
        stat.lines().next()?.split_whitespace().skip(1).take(8).filter_map(|field| field.parse().ok()).collect();
    let all: f64 = fields.iter().sum();
    let idle = fields.get(3)? + fields.get(4)?;
    Some(Ticks { all, busy: all - idle, ours: ours()? })
}

/// The ticks of this process and its children, both ended and running.
fn ours() -> Option<f64> {
    let own = Process::read("self")?;
    let me = std::process::id().to_string();
    let pids = fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let pids = pids.filter(|name| name.starts_with(|first: char| first.is_ascii_digit()));
    let children = pids.filter_map(|pid| Process::read(&pid)).filter(|process| process.parent == me);
    Some(own.used + own.of_ended_children + children.map(|child| child.used).sum::<f64>())
}

struct Process {
    parent: String,
    used: f64,
    of_ended_children: f64,
}

impl Process {
    fn read(pid: &str) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is a name in parentheses, which may contain spaces.
        let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
        let ticks = |from: usize| -> f64 { fields[from..].iter().take(2).filter_map(|t| t.parse::<f64>().ok()).sum() };
        (fields.len() > 15).then(|| Self {
            parent: fields[1].to_owned(),
            used: ticks(11),
            of_ended_children: ticks(13),
        })
    }
}
