//! A part of the comparison: its contests, printed as they end, and kept in a file.

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};

use crate::contest::Contest;
use crate::machine::Machine;
use crate::outcome::{BUSY, Outcome};

/// What a part measured, on one machine.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    /// The part's name.
    pub part: String,
    /// Where it was measured.
    pub machine: Machine,
    /// Its contests, in the order of the program.
    pub contests: Vec<Outcome>,
    /// Contests whose titles hold one of these run; all, if there are none.
    #[serde(skip)]
    only: Vec<String>,
    /// How often a contest is run again at most, when others have used the machine meanwhile.
    #[serde(skip)]
    again: usize,
}

impl Report {
    /// An empty one.
    #[must_use]
    pub fn new(part: &str, only: &[String], again: usize) -> Self {
        Self { part: part.to_owned(), machine: Machine::here(), contests: Vec::new(), only: only.to_vec(), again }
    }

    /// Reads a part's file.
    ///
    /// # Errors
    ///
    /// If there is none, or it is no report.
    pub fn read(folder: &Path, part: &str) -> io::Result<Self> {
        Ok(serde_json::from_str(&fs::read_to_string(file(folder, part))?)?)
    }

    /// Whether a contest of this title is asked for.
    #[must_use]
    pub fn wants(&self, title: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|text| title.contains(text.as_str()))
    }

    /// Runs a contest if it is asked for, prints its table, and keeps it.
    pub fn run(&mut self, contest: Contest<'_>) -> Option<&mut Outcome> {
        let outcome = self.measure(contest)?;
        Some(self.keep(outcome))
    }

    /// Prints an outcome's table, and keeps it.
    pub fn keep(&mut self, outcome: Outcome) -> &mut Outcome {
        print!("{}", outcome.table());
        self.keep_quietly(outcome)
    }

    /// Keeps an outcome whose part prints it in its own way.
    pub fn keep_quietly(&mut self, outcome: Outcome) -> &mut Outcome {
        self.contests.push(outcome);
        let last = self.contests.len() - 1;
        &mut self.contests[last]
    }

    /// Runs a contest if it is asked for: again while others use the machine, and the quietest time counts.
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

    /// Writes the part's file. What an earlier run on the same machine measured stays, unless it was measured anew.
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
