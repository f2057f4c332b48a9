//! What a timeline and its pictures make of recorded events.

use std::time::Duration;

use super::summary::{functions, short, workers};
use super::timeline::Timeline;
use super::{chrome_trace, svg};
use crate::PoolKind;
use crate::pool::recorder::{Event, Recorded};
use crate::pool::work_span::WorkKind;

const MS: u64 = 1_000_000;

fn event(work: Option<WorkKind>, function: &'static str, start: u64, end: u64) -> Event {
    let (start, end) = (start * MS, end * MS);
    Event { work, function, pool: "db", pool_kind: PoolKind::Cpu, items: 1, queued: u64::MAX, start, end }
}

fn timeline(lanes: Vec<(&str, Vec<Event>)>) -> Timeline {
    let lanes = lanes.into_iter().map(|(name, events)| (name.to_owned(), events)).collect();
    Timeline::new(Recorded { wall: Duration::from_millis(100), lanes, lost: 0 })
}

#[test]
fn a_worker_is_busy_with_outer_and_inner_pieces_once_and_not_while_it_waits() {
    // As a thread records them: an inner one ends first.
    let events = vec![
        event(Some(WorkKind::Block), "inner", 20, 30),
        event(None, "", 30, 45),
        event(Some(WorkKind::Task), "outer", 10, 60),
        event(Some(WorkKind::Task), "next", 60, 70),
    ];
    let timeline = timeline(vec![("w-10", events), ("w-9", vec![event(Some(WorkKind::Task), "next", 0, 5)])]);
    let workers = workers(&timeline);
    assert_eq!(workers.iter().map(|worker| worker.name.as_str()).collect::<Vec<_>>(), ["w-9", "w-10"]);
    let ms = Duration::from_millis;
    assert_eq!((workers[1].busy, workers[1].waiting, workers[1].idle), (ms(45), ms(15), ms(40)));
    assert_eq!(workers[1].pieces, 3);
    let functions = functions(&timeline);
    assert_eq!(functions[0].function, "outer");
    assert_eq!((functions[0].total, functions[0].longest), (ms(50), ms(50)));
    let next = functions.iter().find(|function| function.function == "next").expect("it ran");
    assert_eq!((next.pieces, next.total, next.span, next.mean_queued), (2, ms(15), ms(70), None));
    assert!((next.skew() - 10.0 / 7.5).abs() < 1e-9);
}

#[test]
fn futures_are_no_work_of_a_thread() {
    let events = vec![event(Some(WorkKind::Future), "f", 0, 90), event(Some(WorkKind::Future), "f", 10, 20)];
    let timeline = timeline(vec![("runtime", events)]);
    assert!(workers(&timeline).is_empty());
    assert_eq!(functions(&timeline)[0].what, "future");
    assert!(svg::draw(&timeline, &functions(&timeline), 0.0).contains(">futures<"));
    assert!(chrome_trace::write(&timeline).contains("\"ph\":\"b\""));
}

#[test]
fn names_are_escaped() {
    let events = vec![event(Some(WorkKind::Task), "a::<&\"b\u{1}\">", 0, 50)];
    let timeline = timeline(vec![("<\"\\thread\n", events)]);
    let picture = svg::draw(&timeline, &functions(&timeline), 0.5);
    assert!(picture.contains("&lt;&quot;\\thread?") && picture.contains("a::&lt;&amp;&quot;b?&quot;&gt;"), "{picture}");
    assert!(chrome_trace::write(&timeline).contains(r#""<\"\\thread\u000a""#));
}

#[test]
fn many_short_pieces_are_one_rectangle() {
    let micro = |n: u64| Event { start: n * 1_000, end: n * 1_000 + 900, ..event(Some(WorkKind::Block), "f", 0, 0) };
    let timeline = timeline(vec![("w", (0..100_000).map(micro).collect())]);
    let picture = svg::draw(&timeline, &functions(&timeline), 1.0);
    assert!(picture.len() < 100_000, "{} bytes", picture.len());
    let counts = picture.split("f: ").skip(1).filter_map(|rest| rest.split(" of block").next()?.parse::<u64>().ok());
    assert_eq!(counts.sum::<u64>(), 100_000, "each is in one of them");
}

#[test]
fn a_path_is_cut_to_its_last_two_parts() {
    assert_eq!(short("app::model::delay"), "model::delay");
    assert_eq!(short("app::main::{{closure}}"), "main::{{closure}}");
    assert_eq!(short("delay"), "delay");
    assert_eq!(short("app::f<app::b::C>"), "app::f");
}
