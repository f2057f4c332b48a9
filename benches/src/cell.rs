//! A cell of the grid: a number of items, and the cost of each.

use std::fmt;

/// A cell of the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Items of the map.
    pub items: u64,
    /// Nanoseconds an item.
    pub cost: u64,
}

impl Cell {
    /// The numbers of items.
    pub const ITEMS: [u64; 7] = [1, 16, 256, 4_096, 65_536, 1_000_000, 10_000_000];
    /// The costs of an item, in nanoseconds.
    pub const COSTS: [u64; 7] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000];

    /// The cell of the contest with this title.
    #[must_use]
    pub fn of(title: &str) -> Option<Self> {
        let (items, cost) = title.split_once(" items of ")?;
        let cost = cost.strip_suffix(" ns each")?;
        Some(Self { items: items.parse().ok()?, cost: cost.parse().ok()? })
    }

    /// Nanoseconds of the whole map in a loop.
    #[must_use]
    pub fn work(self) -> u64 {
        self.items * self.cost
    }
}

/// The title of the cell's contest.
impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} items of {} ns each", self.items, self.cost)
    }
}
