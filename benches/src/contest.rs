//! Contests: contenders take turns, in blocks of warm calls.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::load::Load;
use crate::outcome::{Outcome, median};

/// One of several implementations of the same work.
struct Contender<'a> {
    name: String,
    /// Runs once and gives the time.
    run: Box<dyn FnMut() -> Duration + 'a>,
    /// The median time of a call, for each block.
    blocks: Vec<Duration>,
}

/// Contenders that do the same work.
pub struct Contest<'a> {
    title: String,
    contenders: Vec<Contender<'a>>,
    rounds: usize,
    block: Duration,
}

impl<'a> Contest<'a> {
    /// A contest of 9 rounds, with blocks of 100 ms.
    #[must_use]
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), contenders: Vec::new(), rounds: 9, block: Duration::from_millis(100) }
    }

    /// Sets the number of rounds and how long each contender's block lasts in each.
    #[must_use]
    pub fn rounds(mut self, rounds: usize, block: Duration) -> Self {
        self.rounds = rounds;
        self.block = block;
        self
    }

    /// Adds a contender. The time includes dropping its result.
    #[must_use]
    pub fn with<T>(self, name: impl Into<String>, mut run: impl FnMut() -> T + 'a) -> Self {
        self.with_timed(name, move || {
            let start = Instant::now();
            drop(black_box(run()));
            start.elapsed()
        })
    }

    /// Adds a contender that measures its own time, because only a part of it counts.
    #[must_use]
    pub fn with_timed(mut self, name: impl Into<String>, run: impl FnMut() -> Duration + 'a) -> Self {
        let run = Box::new(run);
        self.contenders.push(Contender { name: name.into(), run, blocks: Vec::new() });
        self
    }

    /// The title.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Runs all rounds. Each starts with another contender, so that no contender always follows the same one.
    #[must_use]
    pub fn run(&mut self) -> Outcome {
        let load = Load::begin();
        let count = self.contenders.len();
        self.contenders.iter_mut().for_each(|contender| contender.blocks.clear());
        for round in 0..self.rounds {
            for turn in 0..count {
                self.contenders[(round + turn) % count].block(self.block);
            }
        }
        let rows = self.contenders.iter().map(|contender| (contender.name.clone(), contender.blocks.clone()));
        Outcome::new(self.title.clone(), rows.collect(), load.of_others())
    }
}

impl Contender<'_> {
    /// Calls until the block's time is over, and records the median call. A warm-up call comes first, unless a call is
    /// known to be longer than the block: then warming up is a small part of it.
    fn block(&mut self, length: Duration) {
        if self.blocks.last().is_none_or(|last| *last < length) {
            (self.run)();
        }
        let end = Instant::now() + length;
        let mut calls = Vec::new();
        loop {
            calls.push((self.run)());
            if Instant::now() >= end {
                break;
            }
        }
        self.blocks.push(median(&mut calls));
    }
}
