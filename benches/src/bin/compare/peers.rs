//! The peers that are Python's: scripts under `benches/peers`, which say what they measured.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use fanfold_benches::Outcome;

/// Which Python runs the scripts, instead of `python3`.
const INTERPRETER: &str = "FANFOLD_PYTHON";

/// What a script measured: by task, and by peer.
pub(crate) struct Python(BTreeMap<String, Vec<(String, Duration)>>);

impl Python {
    /// Runs a script, where there is a Python. Each line of it is a figure: task, peer and seconds, with tabs between.
    pub(crate) fn script(name: &str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(name);
        let python = std::env::var(INTERPRETER).unwrap_or_else(|_| "python3".into());
        let out = Command::new(&python).arg(script).stderr(Stdio::inherit()).output();
        let text = out.map_or_else(|_| String::new(), |out| String::from_utf8_lossy(&out.stdout).into_owned());
        if text.is_empty() {
            println!("({python} gave no figures of {name}: they are left out)\n");
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

    /// Puts the figures of a task beside ours.
    pub(crate) fn beside(&self, task: &str, outcome: &mut Outcome) {
        for (name, time) in self.of(task) {
            outcome.beside(format!("Python: {name}"), *time);
        }
    }

    /// The same; the fastest is a bar, `times` slower than `ours`.
    pub(crate) fn beside_at_most(&self, task: &str, outcome: &mut Outcome, ours: &str, times: f64) {
        self.beside(task, outcome);
        if let Some((name, time)) = self.of(task).iter().min_by_key(|(_, time)| *time) {
            let share = outcome.time(ours).as_secs_f64() / time.as_secs_f64();
            outcome.bar(format!("{ours} against Python's {name}"), share, 1.0 / times);
        }
    }

    fn of(&self, task: &str) -> &[(String, Duration)] {
        self.0.get(task).map_or(&[], Vec::as_slice)
    }
}
