//! SVG charts of the results: a heat map of the grid, and bar charts of all other parts.

mod bars;
mod canvas;
mod heat;

use std::path::Path;

use crate::cell::Cell;
use crate::report::Report;

/// Draws the results of a part into `PART.svg`.
///
/// # Errors
///
/// If the file cannot be written.
pub fn draw(report: &Report, folder: &Path) -> Result<(), String> {
    let file = folder.join(format!("{}.svg", report.part));
    let drawn = if report.contests.iter().any(|outcome| Cell::of(&outcome.title).is_some()) {
        heat::draw(report, &file)
    } else {
        bars::draw(report, &file)
    };
    drawn.map_err(|error| format!("{}: {error}", file.display()))
}
