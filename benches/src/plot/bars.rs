//! Bar charts: each contender's time, as a multiple of the fastest peer's.

use std::path::Path;

use plotters::style::RGBColor;

use super::canvas::{Align, Canvas, Drawn};
use crate::FANFOLD;
use crate::outcome::{Outcome, Row};
use crate::page::time;
use crate::report::Report;

const WIDTH: i32 = 900;
const TITLE: i32 = 26;
const ROW: i32 = 18;
const GAP: i32 = 14;
/// The left end of the bars, and the length of the fastest peer's bar.
const LEFT: i32 = 270;
const UNIT: f64 = 120.0;
/// Longer bars are cut.
const LONGEST: f64 = 3.6;

const OURS: RGBColor = RGBColor(0, 110, 160);
const THEIRS: RGBColor = RGBColor(176, 190, 197);
const SPREAD: RGBColor = RGBColor(60, 60, 60);
const BEST: RGBColor = RGBColor(200, 60, 40);

pub(super) fn draw(report: &Report, file: &Path) -> Drawn {
    let contests: Vec<&Outcome> = report.contests.iter().filter(|outcome| outcome.rows.len() > 1).collect();
    let rows: usize = contests.iter().map(|outcome| outcome.rows.len()).sum();
    let height = i32::try_from(contests.len())? * (TITLE + GAP) + i32::try_from(rows)? * ROW + TITLE + GAP;
    let canvas = Canvas::new(file, WIDTH, height)?;
    let about = format!("{}: time as a multiple of the fastest peer's (red line); shorter is better", report.part);
    canvas.text(&about, (10, TITLE / 2), 14, Align::Left)?;
    let mut top = TITLE + GAP;
    for outcome in contests {
        top = contest(&canvas, outcome, top)?;
    }
    canvas.finish()
}

fn contest(canvas: &Canvas, outcome: &Outcome, mut top: i32) -> Result<i32, Box<dyn std::error::Error>> {
    let all_ours = outcome.rows.iter().all(|row| row.name.starts_with(FANFOLD));
    let best = outcome.rows.iter().filter(|row| all_ours || !row.name.starts_with(FANFOLD));
    let best = best.map(|row| row.median).min_by(f64::total_cmp).unwrap_or(1.0);
    canvas.text(&outcome.title, (10, top + TITLE / 2), 14, Align::Left)?;
    top += TITLE;
    let lines = i32::try_from(outcome.rows.len())? * ROW;
    for row in &outcome.rows {
        bar(canvas, row, best, top)?;
        top += ROW;
    }
    let one = LEFT + pixels(1.0);
    canvas.line((one, top - lines), (one, top), BEST)?;
    Ok(top + GAP)
}

fn bar(canvas: &Canvas, row: &Row, best: f64, top: i32) -> Drawn {
    let middle = top + ROW / 2;
    let colour = if row.name.starts_with(FANFOLD) { OURS } else { THEIRS };
    let ratio = row.median / best;
    canvas.text(&row.name, (LEFT - 8, middle), 12, Align::Right)?;
    canvas.rectangle(LEFT, top + 2, pixels(ratio), ROW - 4, colour)?;
    canvas.line((LEFT + pixels(row.low / best), middle), (LEFT + pixels(row.high / best), middle), SPREAD)?;
    let end = LEFT + pixels(ratio.max(row.high / best)) + 6;
    let more = if ratio > LONGEST { ">> " } else { "" };
    canvas.text(&format!("{more}{} ({ratio:.2})", time(row.median)), (end, middle), 12, Align::Left)
}

#[allow(clippy::cast_possible_truncation, reason = "clamped to the width of the sheet")]
fn pixels(ratio: f64) -> i32 {
    (ratio.clamp(0.0, LONGEST) * UNIT).round() as i32
}
