//! Writes result tables into a page, between marks, so that the page can contain other text.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::ALLOWANCE;
use crate::cell::Cell;
use crate::outcome::Outcome;
use crate::report::Report;

/// Writes a part's tables between `<!-- PART -->` and `<!-- /PART -->`.
///
/// # Errors
///
/// If the page cannot be read or written. A part without marks is skipped.
pub fn refresh(page: &Path, report: &Report) -> Result<(), String> {
    let text = fs::read_to_string(page).map_err(|error| format!("{}: {error}", page.display()))?;
    let (open, close) = (format!("<!-- {} -->", report.part), format!("<!-- /{} -->", report.part));
    let Some((before, rest)) = text.split_once(&open) else { return Ok(()) };
    let (_, after) = rest.split_once(&close).ok_or_else(|| format!("{}: `{close}` is missing", page.display()))?;
    let text = format!("{before}{open}\n{}\n{close}{after}", tables(report));
    fs::write(page, text).map_err(|error| format!("{}: {error}", page.display()))
}

fn tables(report: &Report) -> String {
    let (machine, dates, busy) = (report.machine.line(), dates(&report.contests), busy(&report.contests));
    let mut text = format!("\n{machine}; {dates}; other processes used {busy} of the machine.\n\n");
    if report.contests.iter().any(|outcome| Cell::of(&outcome.title).is_some()) {
        grid(&mut text, report);
    }
    contests(&mut text, report);
    bars(&mut text, report);
    text
}

fn dates(contests: &[Outcome]) -> String {
    let mut days: Vec<&str> = contests.iter().map(|outcome| outcome.date.as_str()).collect();
    days.sort_unstable();
    match (days.first(), days.last()) {
        (Some(first), Some(last)) if first != last => format!("{first} to {last}"),
        (Some(day), _) => (*day).to_owned(),
        _ => "not measured".into(),
    }
}

/// The load by other processes: the median and the maximum of all contests.
fn busy(contests: &[Outcome]) -> String {
    let mut loads: Vec<f64> = contests.iter().map(|outcome| outcome.load).collect();
    loads.sort_unstable_by(f64::total_cmp);
    let percent = |load: Option<&f64>| load.map_or(0.0, |load| load * 100.0);
    format!("{:.0} % (at most {:.0} %)", percent(loads.get(loads.len() / 2)), percent(loads.last()))
}

fn grid(text: &mut String, report: &Report) {
    let heads = Cell::COSTS.map(short).join(" | ");
    let _ = writeln!(text, "| items | {heads} |\n|---:|{}", "---|".repeat(Cell::COSTS.len()));
    for items in Cell::ITEMS {
        let cells = Cell::COSTS.map(|cost| {
            let cell = Cell { items, cost };
            let found = report.contests.iter().find(|outcome| Cell::of(&outcome.title) == Some(cell));
            let Some(standing) = found.and_then(Outcome::standing) else { return String::from("-") };
            let over = standing.ours - standing.best;
            if (0.0..ALLOWANCE).contains(&over) {
                format!("+{over:.0} ns ({})", standing.peer)
            } else {
                format!("{:.2} ({})", standing.ratio(), standing.peer)
            }
        });
        let _ = writeln!(text, "| {} | {} |", count(items), cells.join(" | "));
    }
    text.push('\n');
}

fn contests(text: &mut String, report: &Report) {
    let others = report.contests.iter().filter(|outcome| Cell::of(&outcome.title).is_none());
    let rows: Vec<String> = others
        .filter_map(|outcome| {
            let standing = outcome.standing()?;
            let (ours, best, peer, ratio) = (time(standing.ours), time(standing.best), standing.peer, standing.ratio());
            Some(format!("| {} | {ours} | {best} ({peer}) | {ratio:.2} |\n", outcome.title))
        })
        .collect();
    if !rows.is_empty() {
        let _ =
            writeln!(text, "| workload | Fanfold | fastest peer | ratio |\n|---|---:|---:|---:|\n{}", rows.concat());
    }
}

/// The table of targets. Of a grid's cells, only missed targets are listed.
fn bars(text: &mut String, report: &Report) {
    let mut rows = String::new();
    for outcome in &report.contests {
        let cell = Cell::of(&outcome.title).is_some();
        for bar in outcome.bars.iter().filter(|bar| !cell || !bar.holds) {
            let word = if bar.holds { "met" } else { "**missed**" };
            let (title, what) = (&outcome.title, &bar.what);
            let _ = writeln!(rows, "| {title}: {what} | {:.3} | {:.3} | {word} |", bar.figure, bar.limit);
        }
    }
    if !rows.is_empty() {
        let _ = write!(text, "| target | measured | limit | result |\n|---|---:|---:|---|\n{rows}");
    }
}

/// Formats nanoseconds with a unit.
pub(crate) fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        n if n < 1e3 => format!("{n:.0} ns"),
        n if n < 1e6 => format!("{:.3} us", n / 1e3),
        n if n < 1e9 => format!("{:.3} ms", n / 1e6),
        n => format!("{:.3} s", n / 1e9),
    }
}

/// Formats whole nanoseconds with a unit.
pub(crate) fn short(nanoseconds: u64) -> String {
    match nanoseconds {
        n if n < 1_000 => format!("{n} ns"),
        n if n < 1_000_000 => format!("{} us", n / 1_000),
        n => format!("{} ms", n / 1_000_000),
    }
}

/// Formats a number of items.
pub(crate) fn count(items: u64) -> String {
    match items {
        n if n < 1_000 => n.to_string(),
        n if n < 1_000_000 => format!("{},{:03}", n / 1_000, n % 1_000),
        n => format!("{} M", n / 1_000_000),
    }
}
