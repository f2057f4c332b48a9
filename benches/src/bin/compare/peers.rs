//! Peers in Python: scripts under `benches/peers`, which print their measurements.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use fanfold_benches::Outcome;

/// Names the Python interpreter that runs the scripts instead of `python3`.
const INTERPRETER: &str = "FANFOLD_PYTHON";

/// The measurements of a script, by task and peer.
pub(crate) struct Python(BTreeMap<String, Vec<(String, Duration)>>);

impl Python {
    /// Runs a script if Python is available. Each line of its output is a task, a peer and seconds, separated by tabs.
    pub(crate) fn script(name: &str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(name);
        let python = std::env::var(INTERPRETER).unwrap_or_else(|_| "python3".into());
        let out = Command::new(&python).arg(script).stderr(Stdio::inherit()).output();
        let text = out.map_or_else(|_| String::new(), |out| String::from_utf8_lossy(&out.stdout).into_owned());
        if text.is_empty() {
            println!("({python} printed no figures for {name}: they are left out)\n");
        }
        let mut figures: BTreeMap<String, Vec<(String, Duration)>> = BTreeMap::new();
        for line in text.lines() {
            let mut parts = line.split('\t');
            if let (Some(task), Some(peer), Some(Ok(seconds))) =
                (parts.next(), parts.next(), parts.next().map(str::parse))
            {
                let time = Duration::from_secs_f64(seconds);
                figures.entry(task.to_owned()).or_default().push((peer.to_owned(), time));
            }
        }
        Self(figures)
    }

    /// Adds the figures of a task to an outcome.
    pub(crate) fn add_to(&self, task: &str, outcome: &mut Outcome) {
        for (name, time) in self.of(task) {
            outcome.add_measured(format!("Python: {name}"), *time);
        }
    }

    /// As [`Python::add_to`], with a target: the fastest peer must be at least `times` slower than `ours`.
    pub(crate) fn add_with_target(&self, task: &str, outcome: &mut Outcome, ours: &str, times: f64) {
        self.add_to(task, outcome);
        if let Some((name, time)) = self.of(task).iter().min_by_key(|(_, time)| *time) {
            let share = outcome.time(ours).as_secs_f64() / time.as_secs_f64();
            outcome.bar(format!("{ours} against Python's {name}"), share, 1.0 / times);
        }
    }

    fn of(&self, task: &str) -> &[(String, Duration)] {
        self.0.get(task).map_or(&[], Vec::as_slice)
    }
}
