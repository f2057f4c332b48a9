//! Reports: the contests of one part of the comparison, printed as they end and stored in a file.

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};

use crate::contest::Contest;
use crate::machine::Machine;
use crate::outcome::{BUSY, Outcome};

/// The results of a part on one machine.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    /// The part's name.
    pub part: String,
    /// The machine.
    pub machine: Machine,
    /// The contests, in the order of the program.
    pub contests: Vec<Outcome>,
    /// Only contests whose titles contain one of these run; all contests if empty.
    #[serde(skip)]
    only: Vec<String>,
    /// The most repetitions of a contest during which other processes used the machine.
    #[serde(skip)]
    again: usize,
}

impl Report {
    /// An empty report.
    #[must_use]
    pub fn new(part: &str, only: &[String], again: usize) -> Self {
        Self { part: part.to_owned(), machine: Machine::here(), contests: Vec::new(), only: only.to_vec(), again }
    }

    /// Reads a part's file.
    ///
    /// # Errors
    ///
    /// If the file does not exist or is not a report.
    pub fn read(folder: &Path, part: &str) -> io::Result<Self> {
        Ok(serde_json::from_str(&fs::read_to_string(file(folder, part))?)?)
    }

    /// Whether the contest of this title is to run.
    #[must_use]
    pub fn wants(&self, title: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|text| title.contains(text.as_str()))
    }

    /// Runs a contest if it is to run, prints its table, and stores it.
    pub fn run(&mut self, contest: Contest<'_>) -> Option<&mut Outcome> {
        let outcome = self.measure(contest)?;
        Some(self.keep(outcome))
    }

    /// Prints an outcome's table, and stores it.
    pub fn keep(&mut self, outcome: Outcome) -> &mut Outcome {
        print!("{}", outcome.table());
        self.keep_quietly(outcome)
    }

    /// Stores an outcome whose part prints it in its own way.
    pub fn keep_quietly(&mut self, outcome: Outcome) -> &mut Outcome {
        self.contests.push(outcome);
        let last = self.contests.len() - 1;
        &mut self.contests[last]
    }

    /// Runs a contest if it is to run. It is repeated while other processes use the machine, and the run with the
    /// lowest load counts.
    #[must_use]
    pub fn measure(&self, mut contest: Contest<'_>) -> Option<Outcome> {
        if !self.wants(contest.title()) {
            return None;
        }
        let mut best = contest.run();
        for _ in 0..self.again {
            if best.load <= BUSY {
                break;
            }
            let again = contest.run();
            if again.load < best.load {
                best = again;
            }
        }
        Some(best)
    }

    /// Writes the part's file. Contests of an earlier run on the same machine stay, unless they were measured again.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn write(mut self, folder: &Path) -> io::Result<Self> {
        if let Ok(mut earlier) = Self::read(folder, &self.part)
            && earlier.machine == self.machine
            && !self.only.is_empty()
        {
            for outcome in self.contests {
                match earlier.contests.iter_mut().find(|old| old.title == outcome.title) {
                    Some(old) => *old = outcome,
                    None => earlier.contests.push(outcome),
                }
            }
            self.contests = earlier.contests;
        }
        fs::create_dir_all(folder)?;
        fs::write(file(folder, &self.part), serde_json::to_string_pretty(&self)? + "\n")?;
        Ok(self)
    }
}

fn file(folder: &Path, part: &str) -> PathBuf {
    folder.join(format!("{part}.json"))
}
