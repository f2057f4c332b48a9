//! The spans that tasks, chunks and blocks of maps get where a subscriber asks for them. One test: a program has one
//! subscriber.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use fanfold::{Pool, parallel};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// The fields of a span.
#[derive(Clone, Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

/// The spans that have ended: target, the target of the span around them, and fields.
type Ended = Arc<Mutex<Vec<(String, Option<String>, BTreeMap<&'static str, String>)>>>;

struct Keeper(Ended);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Keeper {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        context.span(id).expect("it exists").extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).expect("it exists");
        values.record(span.extensions_mut().get_mut::<Fields>().expect("of `on_new_span`"));
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).expect("it exists");
        let fields = span.extensions().get::<Fields>().expect("of `on_new_span`").0.clone();
        let parent = span.parent().map(|parent| parent.metadata().target().to_owned());
        self.0.lock().expect("no panic").push((span.metadata().target().to_owned(), parent, fields));
    }
}

/// Lets the spans of these targets through.
struct Only(&'static [&'static str]);

impl<S> Filter<S> for Only {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.0.contains(&metadata.target())
    }
}

#[parallel(kind = "cpu", chunks = 3)]
fn doubled(numbers: Vec<u64>) -> Vec<u64> {
    numbers.into_iter().map(|n| 2 * n).collect()
}

#[parallel(kind = "io")]
fn count(n: u64) -> u64 {
    n + 1
}

#[test]
fn tasks_chunks_and_blocks_have_spans_where_a_subscriber_wants_them() {
    let ended = Ended::default();
    let keeper = Keeper(Arc::clone(&ended));
    let filter = Only(&["fanfold::task", "fanfold::chunk", "fanfold::block", "app"]);
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(keeper.with_filter(filter)))
        .expect("the first subscriber");
    let take = || std::mem::take(&mut *ended.lock().expect("no panic"));

    count::submit(1).join().expect("it returns");
    assert!(take().is_empty(), "they are off");
    fanfold::configure().task_spans(true).apply().expect("it can be set at any time");

    let request = tracing::info_span!(target: "app", "request");
    assert_eq!(request.in_scope(|| count::submit(1)).join().expect("it returns"), 2);
    // The span of the task is closed before its result is there.
    let spans = take();
    let (_, parent, fields) = spans.iter().find(|span| span.0 == "fanfold::task").expect("a span of the task");
    assert_eq!(parent.as_deref(), Some("app"), "it is inside the span of its caller");
    assert_eq!(fields["function"], "task_spans::count");
    assert_eq!((fields["kind"].as_str(), fields["pool"].as_str()), ("io", "io"));
    assert!(fields["worker"].parse::<usize>().is_ok(), "{fields:?}");
    assert!(fields["queue_time"].ends_with('s') && fields["run_time"].ends_with('s'), "{fields:?}");

    let failing = Pool::io_default().submit(|| panic!("it fails"));
    failing.join().expect_err("it panics");
    let spans = take();
    assert!(spans.iter().any(|(target, _, fields)| target == "fanfold::task" && fields.contains_key("run_time")));

    assert_eq!(doubled(vec![1, 2, 3]), [2, 4, 6]);
    let chunks: Vec<_> = take().into_iter().filter(|span| span.0 == "fanfold::chunk").collect();
    assert_eq!(chunks.len(), 3);
    for (_, _, fields) in chunks {
        assert_eq!((fields["function"].as_str(), fields["kind"].as_str()), ("task_spans::doubled", "cpu"));
        assert!(fields.contains_key("queue_time") && fields.contains_key("run_time"), "{fields:?}");
    }

    assert_eq!(count::map(0..10).chunk_size(5).collect::<Vec<_>>().len(), 10);
    let spans = take();
    assert_eq!(spans.len(), 2, "one for each block, and none for each item");
    for (target, _, fields) in spans {
        assert_eq!((target.as_str(), fields["function"].as_str()), ("fanfold::block", "task_spans::count"));
        assert_eq!(fields["items"], "5");
        assert!(fields.contains_key("run_time"), "{fields:?}");
    }
}
