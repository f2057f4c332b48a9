//! Methods with every form of receiver, in a crate that forbids lints.
#![deny(missing_docs, unused, clippy::pedantic, unsafe_code)]
#![forbid(unsafe_code)]

use std::sync::Arc;

/// A grid.
pub struct Grid {
    cells: Vec<u64>,
}

impl Grid {
    /// Adds them up.
    #[fanfold::parallel(kind = "cpu")]
    #[must_use]
    pub fn total(&self, factor: u64) -> u64 {
        self.cells.iter().sum::<u64>() * factor
    }

    /// Adds one.
    #[fanfold::parallel(kind = "cpu")]
    pub fn push(&mut self, cell: u64) {
        self.cells.push(cell);
    }

    /// Takes it apart.
    #[fanfold::parallel(kind = "io")]
    #[must_use]
    pub fn into_cells(self) -> Vec<u64> {
        self.cells
    }

    /// Makes one.
    #[fanfold::parallel(kind = "cpu")]
    #[must_use]
    pub fn new(cells: Vec<u64>) -> Self {
        Self { cells }
    }

    /// A square.
    #[fanfold::parallel(kind = "cpu", companion = Self)]
    #[must_use]
    pub fn square(n: u64) -> u64 {
        n * n
    }
}

#[test]
fn runs() {
    let mut grid = Grid::new(vec![1, 2]);
    grid.push(3);
    assert_eq!(grid.total(2), 12);
    assert_eq!(grid.total_map([1, 2]).collect::<Vec<_>>(), [6, 12]);
    let grid = Arc::new(grid);
    assert_eq!(grid.clone().total_submit(1).join().unwrap(), 6);
    assert_eq!(Grid::square_submit(3).join().unwrap(), 9);
    assert_eq!(Arc::into_inner(grid).unwrap().into_cells(), [1, 2, 3]);
}
