//! A report as a picture: time from left to right, a lane for each thread.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "coordinates are small positive numbers, and times less than 200 days"
)]

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::summary::{FunctionReport, short, what};
use super::table::Time;
use super::timeline::{Piece, Timeline};

/// The picture's width, and the part of it for the names of threads.
const WIDTH: f64 = 1200.0;
const NAMES: f64 = 190.0;
/// The height of a lane, and of the space above all lanes.
const LANE: f64 = 26.0;
const HEAD: f64 = 64.0;
/// The height of a line of the legend.
const LINE: f64 = 20.0;
/// A rectangle that is narrower is drawn together with the next one.
const NARROW: f64 = 0.5;
/// The colours of functions, which can be told apart by readers who see fewer colours, on white and on black.
const COLOURS: [&str; 8] = ["#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5"];
/// The lanes of futures that run at the same time, and of threads. What is beyond is counted in words.
const MOST_LANES: usize = 128;

const STYLE: &str = "\
text{font:12px ui-sans-serif,system-ui,sans-serif;fill:#1f2328}\
.head{font-size:15px;font-weight:600}.quiet{fill:#59636e}.back{fill:#fff}.lane{fill:#f0f2f5}\
.grid{stroke:#d1d9e0}.wait{fill:#59636e;opacity:.35}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.quiet{fill:#9198a1}.back{fill:#0d1117}.lane{fill:#1b222c}\
.grid{stroke:#3d444d}.wait{fill:#9198a1}}";

pub(super) fn draw(timeline: &Timeline, functions: &[FunctionReport], speedup: f64) -> String {
    let mut picture = Picture::new(timeline, functions);
    // Writing to a `String` does not fail.
    let _ = picture.draw(timeline, functions, speedup);
    picture.out
}

struct Picture<'a> {
    out: String,
    /// The functions by their colours.
    names: Vec<&'a str>,
    /// The width of a nanosecond.
    scale: f64,
}

impl<'a> Picture<'a> {
    fn new(timeline: &Timeline, functions: &'a [FunctionReport]) -> Self {
        let mut names: Vec<&str> = Vec::new();
        for function in functions {
            if !names.contains(&function.function.as_str()) {
                names.push(&function.function);
            }
        }
        let scale = (WIDTH - NAMES - 16.0) / (timeline.wall.as_nanos() as f64).max(1.0);
        Self { out: String::new(), names, scale }
    }

    fn draw(&mut self, timeline: &Timeline, functions: &[FunctionReport], speedup: f64) -> fmt::Result {
        let lanes = timeline.lanes.len().min(MOST_LANES);
        let futures = future_lanes(&timeline.futures);
        let all = (lanes + futures.len()) as f64;
        let rows = self.names.len().min(COLOURS.len());
        let height = HEAD + LANE * all + LINE * (rows as f64 + 1.0);
        let wall = Time(timeline.wall);
        write!(
            self.out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" role=\"img\" \
             aria-label=\"Timeline of {} threads\"><style>{STYLE}</style>\
             <rect class=\"back\" width=\"{WIDTH}\" height=\"{height}\"/>",
            timeline.lanes.len()
        )?;
        write!(self.out, "<text class=\"head\" x=\"12\" y=\"24\">{wall}, {speedup:.2} threads busy on average</text>")?;
        self.grid(timeline.wall, HEAD + LANE * all)?;
        let mut top = HEAD;
        for lane in timeline.lanes.iter().take(lanes) {
            self.lane(&lane.thread, top, &lane.pieces, &lane.waits)?;
            top += LANE;
        }
        for (number, pieces) in futures.iter().enumerate() {
            self.lane(if number == 0 { "futures" } else { "" }, top, pieces, &[])?;
            top += LANE;
        }
        self.legend(top + LINE, functions)?;
        if timeline.lanes.len() > lanes {
            let more = timeline.lanes.len() - lanes;
            write!(
                self.out,
                "<text class=\"quiet\" x=\"{NAMES}\" y=\"{:.1}\">and {more} more threads</text>",
                top + 14.0
            )?;
        }
        self.out.push_str("</svg>\n");
        Ok(())
    }

    /// Lines at round times.
    fn grid(&mut self, wall: Duration, bottom: f64) -> fmt::Result {
        let wall = wall.as_nanos() as f64;
        let step = round_step(wall / 8.0);
        let mut at = 0.0;
        while at <= wall {
            let (x, time) = (NAMES + at * self.scale, Time(Duration::from_nanos(at as u64)));
            let label = if at == 0.0 { "0".to_owned() } else { time.to_string() };
            write!(
                self.out,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{bottom}\"/>\
                 <text class=\"quiet\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
                HEAD - 6.0,
                HEAD - 10.0
            )?;
            at += step;
        }
        Ok(())
    }

    fn lane(&mut self, name: &str, top: f64, pieces: &[Piece], waits: &[Piece]) -> fmt::Result {
        let name = Text(clip(name, 28));
        write!(
            self.out,
            "<text x=\"12\" y=\"{:.1}\">{name}</text>\
             <rect class=\"lane\" x=\"{NAMES}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{}\" rx=\"2\"/>",
            top + 16.0,
            top + 2.0,
            WIDTH - NAMES - 16.0,
            LANE - 4.0
        )?;
        // Outer pieces first, so that those inside of them are drawn over them.
        let deepest = pieces.iter().chain(waits).map(|piece| piece.depth).max().unwrap_or(0);
        for depth in 0..=deepest.min(8) {
            let is_here = |piece: &&Piece| piece.depth.min(8) == depth;
            self.row(pieces.iter().filter(is_here), top, depth)?;
            self.row(waits.iter().filter(is_here), top, depth)?;
        }
        Ok(())
    }

    /// The pieces of one depth, which do not overlap. Narrow ones of one function are drawn together.
    fn row<'p>(&mut self, pieces: impl Iterator<Item = &'p Piece>, top: f64, depth: usize) -> fmt::Result {
        let mut group: Option<Group<'p>> = None;
        for piece in pieces {
            let gap = |group: &Group<'_>| piece.start.saturating_sub(group.end) as f64 * self.scale;
            let width = (piece.end - piece.start) as f64 * self.scale;
            match &mut group {
                Some(group)
                    if group.first.function == piece.function
                        && width < NARROW
                        && gap(group) < NARROW
                        && (group.end - group.first.start) as f64 * self.scale < 4.0 =>
                {
                    group.end = piece.end;
                    group.count += 1;
                    group.took += piece.took();
                }
                _ => {
                    let next = Group { first: piece, end: piece.end, count: 1, took: piece.took() };
                    if let Some(done) = group.replace(next) {
                        self.rectangle(&done, top, depth)?;
                    }
                }
            }
        }
        group.map_or(Ok(()), |done| self.rectangle(&done, top, depth))
    }

    fn rectangle(&mut self, group: &Group<'_>, top: f64, depth: usize) -> fmt::Result {
        let Group { first, end, count, took } = *group;
        let (x, inset) = (NAMES + first.start as f64 * self.scale, depth as f64 * 2.0);
        let width = ((end - first.start) as f64 * self.scale - 0.3).max(0.3);
        let (y, height) = (top + 2.0 + inset, LANE - 4.0 - 2.0 * inset);
        let fill = match first.work {
            None => "class=\"wait\"".to_owned(),
            Some(_) => format!("fill=\"{}\"", self.colour(first.function)),
        };
        write!(
            self.out,
            "<rect {fill} x=\"{x:.2}\" y=\"{y:.1}\" width=\"{width:.2}\" height=\"{:.1}\"><title>",
            height.max(2.0)
        )?;
        let (function, what) = (Text(first.function), what(first));
        match count {
            1 if first.work.is_none() => write!(self.out, "wait of {}", Time(took))?,
            1 => {
                write!(self.out, "{function}: {what} of {}, items: {}", Time(took), first.items)?;
                if let Some(queued) = first.queued {
                    write!(self.out, ", queued for {}", Time(Duration::from_nanos(queued)))?;
                }
            }
            _ => write!(self.out, "{function}: {count} of {what}, {} in all", Time(took))?,
        }
        self.out.push_str("</title></rect>");
        Ok(())
    }

    fn colour(&self, function: &str) -> &'static str {
        let number = self.names.iter().position(|name| *name == function).unwrap_or(COLOURS.len() - 1);
        COLOURS[number.min(COLOURS.len() - 1)]
    }

    fn legend(&mut self, top: f64, functions: &[FunctionReport]) -> fmt::Result {
        let mut y = top;
        for (number, name) in self.names.iter().take(COLOURS.len()).enumerate() {
            let (mut pieces, mut total) = (0, Duration::ZERO);
            // The last colour is that of all functions from there on.
            let is_last = number == COLOURS.len() - 1 && self.names.len() > COLOURS.len();
            for function in functions {
                if function.function == *name || (is_last && !self.names[..number].contains(&&*function.function)) {
                    (pieces, total) = (pieces + function.pieces, total + function.total);
                }
            }
            let more = if is_last { " and others" } else { "" };
            let (name, colour, total) = (Text(clip(short(name), 60)), COLOURS[number], Time(total));
            write!(
                self.out,
                "<rect fill=\"{colour}\" x=\"{NAMES}\" y=\"{:.1}\" width=\"12\" height=\"12\" rx=\"2\"/>\
                 <text x=\"{}\" y=\"{y:.1}\">{name}{more}: {total} in {pieces} pieces</text>",
                y - 10.0,
                NAMES + 20.0
            )?;
            y += LINE;
        }
        Ok(())
    }
}

/// Neighbouring pieces that are drawn as one rectangle.
struct Group<'p> {
    first: &'p Piece,
    end: u64,
    count: usize,
    took: Duration,
}

/// Futures in as few lanes as keep them apart.
fn future_lanes(futures: &[Piece]) -> Vec<Vec<Piece>> {
    let mut lanes: Vec<Vec<Piece>> = Vec::new();
    for piece in futures {
        let free = lanes.iter().position(|lane| lane.last().is_none_or(|last| last.end <= piece.start));
        match free {
            Some(free) => lanes[free].push(*piece),
            None if lanes.len() < MOST_LANES => lanes.push(vec![*piece]),
            None => {}
        }
    }
    lanes
}

/// 1, 2 or 5 times a power of ten, at least `least`.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.max(1.0).log10().floor());
    [1.0, 2.0, 5.0].map(|factor| factor * power).into_iter().find(|step| *step >= least).unwrap_or(10.0 * power)
}

/// The last `most` characters.
fn clip(text: &str, most: usize) -> &str {
    match text.char_indices().rev().nth(most) {
        Some((at, c)) => &text[at + c.len_utf8()..],
        None => text,
    }
}

/// Text in XML.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                '"' => f.write_str("&quot;")?,
                // Control characters are no text of XML.
                c if c.is_control() => f.write_char('?')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}
