//! A report in Chrome's trace event format: JSON that Perfetto and `chrome://tracing` open.

use std::fmt::{self, Write as _};

use super::summary::{short, what};
use super::timeline::{Piece, Timeline};

pub(super) fn write(timeline: &Timeline) -> String {
    let mut out = String::from("{\"traceEvents\":[");
    // Writing to a `String` does not fail.
    let _ = write_events(&mut out, timeline);
    out.push_str("],\"displayTimeUnit\":\"ms\"}\n");
    out
}

fn write_events(out: &mut String, timeline: &Timeline) -> fmt::Result {
    write!(out, "{{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":1,\"tid\":0,\"args\":{{\"name\":\"fanfold\"}}}}")?;
    for (thread, lane) in timeline.lanes.iter().enumerate() {
        let name = Json(&lane.thread);
        write!(
            out,
            ",{{\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":1,\"tid\":{thread},\"args\":{{\"name\":{name}}}}}"
        )?;
        // A viewer sorts threads by this number, and not by their names.
        write!(
            out,
            ",{{\"ph\":\"M\",\"name\":\"thread_sort_index\",\"pid\":1,\"tid\":{thread},\
             \"args\":{{\"sort_index\":{thread}}}}}"
        )?;
        for piece in lane.pieces.iter().chain(&lane.waits) {
            let (name, took) = (Json(name_of(piece)), microseconds(piece.end - piece.start));
            write!(out, ",{{\"ph\":\"X\",\"name\":{name},\"cat\":\"{}\",\"pid\":1,\"tid\":{thread}", what(piece))?;
            write!(out, ",\"ts\":{},\"dur\":{took}", microseconds(piece.start))?;
            write_args(out, piece)?;
            out.push('}');
        }
    }
    for (id, piece) in timeline.futures.iter().enumerate() {
        let name = Json(name_of(piece));
        write!(out, ",{{\"ph\":\"b\",\"name\":{name},\"cat\":\"future\",\"pid\":1,\"tid\":0,\"id\":{id}")?;
        write!(out, ",\"ts\":{}", microseconds(piece.start))?;
        write_args(out, piece)?;
        let end = microseconds(piece.end);
        write!(
            out,
            "}},{{\"ph\":\"e\",\"name\":{name},\"cat\":\"future\",\"pid\":1,\"tid\":0,\"id\":{id},\"ts\":{end}}}"
        )?;
    }
    Ok(())
}

fn name_of(piece: &Piece) -> &'static str {
    if piece.work.is_none() { "wait" } else { short(piece.function) }
}

fn write_args(out: &mut String, piece: &Piece) -> fmt::Result {
    if piece.work.is_none() {
        return Ok(());
    }
    let (function, pool) = (Json(piece.function), Json(piece.pool));
    write!(out, ",\"args\":{{\"function\":{function},\"pool\":{pool},\"items\":{}", piece.items)?;
    if let Some(queued) = piece.queued {
        write!(out, ",\"queued_us\":{}", microseconds(queued))?;
    }
    out.push('}');
    Ok(())
}

/// The unit of the format, to a thousandth.
fn microseconds(nanoseconds: u64) -> String {
    format!("{}.{:03}", nanoseconds / 1_000, nanoseconds % 1_000)
}

/// A string of JSON.
#[derive(Clone, Copy)]
struct Json<'a>(&'a str);

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                c if c < ' ' => write!(f, "\\u{:04x}", c as u32)?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}
