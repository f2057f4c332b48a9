//! The grid: Fanfold's time as a multiple of the fastest peer's, by the number of items and their cost.

use std::path::Path;

use plotters::style::RGBColor;

use super::canvas::{Align, Canvas, Drawn};
use crate::ALLOWANCE;
use crate::cell::Cell;
use crate::page::{count, short, time};
use crate::report::Report;

const LEFT: i32 = 110;
const TOP: i32 = 70;
const WIDTH: i32 = 110;
const HEIGHT: i32 = 54;
/// Darkest at twice as fast, or at a fifth slower.
const FASTER: f64 = 0.5;
const SLOWER: f64 = 1.2;

pub(super) fn draw(report: &Report, file: &Path) -> Drawn {
    let (columns, rows) = (i32::try_from(Cell::COSTS.len())?, i32::try_from(Cell::ITEMS.len())?);
    let canvas = Canvas::new(file, LEFT + columns * WIDTH + 20, TOP + rows * HEIGHT + 40)?;
    let about = "Fanfold's time as a multiple of the fastest peer's; below, Fanfold's own and which peer that was";
    canvas.text(about, (10, 18), 14, Align::Left)?;
    canvas.text("items", (LEFT - 12, TOP - 16), 13, Align::Right)?;
    for (x, cost) in (0..).zip(Cell::COSTS) {
        let label = format!("{} each", short(cost));
        canvas.text(&label, (LEFT + x * WIDTH + WIDTH / 2, TOP - 16), 13, Align::Middle)?;
    }
    for (y, items) in (0..).zip(Cell::ITEMS) {
        let top = TOP + y * HEIGHT;
        canvas.text(&count(items), (LEFT - 12, top + HEIGHT / 2), 13, Align::Right)?;
        for (x, cost) in (0..).zip(Cell::COSTS) {
            cell(&canvas, report, Cell { items, cost }, LEFT + x * WIDTH, top)?;
        }
    }
    canvas.finish()
}

fn cell(canvas: &Canvas, report: &Report, cell: Cell, left: i32, top: i32) -> Drawn {
    let Some(outcome) = report.contests.iter().find(|outcome| Cell::of(&outcome.title) == Some(cell)) else {
        return canvas.rectangle(left + 1, top + 1, WIDTH - 2, HEIGHT - 2, RGBColor(236, 236, 236));
    };
    let Some(standing) = outcome.standing() else { return Ok(()) };
    let (ratio, over) = (standing.ratio(), standing.ours - standing.best);
    let (figure, colour) = if ratio > 1.0 && over < ALLOWANCE {
        (format!("+{over:.0} ns"), RGBColor(247, 247, 247))
    } else {
        (format!("{ratio:.2}"), shade(ratio))
    };
    let middle = left + WIDTH / 2;
    canvas.rectangle(left + 1, top + 1, WIDTH - 2, HEIGHT - 2, colour)?;
    canvas.text(&figure, (middle, top + 14), 15, Align::Middle)?;
    canvas.text(&time(standing.ours), (middle, top + 30), 11, Align::Middle)?;
    canvas.text(standing.peer, (middle, top + 44), 10, Align::Middle)
}

/// Green where Fanfold is faster, red where it is slower.
fn shade(ratio: f64) -> RGBColor {
    let (strength, full) = if ratio <= 1.0 {
        ((1.0 - ratio) / (1.0 - FASTER), [46, 139, 87])
    } else {
        ((ratio - 1.0) / (SLOWER - 1.0), [214, 69, 51])
    };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 255")]
    let [red, green, blue] = full.map(|value: u8| {
        let value = f64::from(value);
        (250.0 + (value - 250.0) * strength.clamp(0.0, 1.0)).round() as u8
    });
    RGBColor(red, green, blue)
}
