//! `tracing` spans: tasks and maps run inside the span of their caller.

use std::collections::HashSet;
use std::sync::Once;

use fanfold::{Pool, parallel};
use tracing::{Span, info_span};

/// The span in which this function is called.
#[parallel(kind = "io")]
fn span(_n: u32) -> String {
    here()
}

#[parallel(kind = "cpu")]
fn cpu_span() -> String {
    here()
}

#[parallel(kind = "io", chunks = 3)]
fn chunk_spans(numbers: &[u32]) -> HashSet<String> {
    numbers.iter().map(|_| here()).collect()
}

#[parallel(kind = "io")]
async fn async_span() -> [String; 2] {
    let before = here();
    tokio::task::yield_now().await;
    [before, here()]
}

fn here() -> String {
    Span::current().metadata().map_or("none", |metadata| metadata.name()).to_owned()
}

fn subscribe() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(tracing_subscriber::registry()).unwrap());
}

#[test]
fn a_call_runs_in_the_span_of_its_caller() {
    subscribe();
    let request = info_span!("request");
    let task = request.in_scope(|| span::submit(1));
    assert_eq!(task.join().unwrap(), "request");
    assert_eq!(request.in_scope(|| span(1)), "request");
    assert_eq!(request.in_scope(cpu_span), "request");
    assert_eq!(request.in_scope(|| cpu_span::submit().join()).unwrap(), "request");
    assert_eq!(span(1), "none", "a worker leaves the span");
}

#[test]
fn every_item_and_chunk_runs_in_the_span_of_its_caller() {
    subscribe();
    let job = info_span!("job");
    let of_items = job.in_scope(|| span::map(0..20).collect::<HashSet<_>>());
    assert_eq!(of_items, HashSet::from(["job".to_owned()]));
    let of_results = job.in_scope(|| span::map(0..20).into_iter().collect::<HashSet<_>>());
    assert_eq!(of_results, HashSet::from(["job".to_owned()]));
    assert_eq!(job.in_scope(|| chunk_spans(&[1, 2, 3])), HashSet::from(["job".to_owned()]));
}

#[test]
fn spans_nest_across_workers() {
    subscribe();
    let outer = info_span!("outer");
    let inner = outer.in_scope(|| {
        let submit = || info_span!("inner").in_scope(|| (here(), span::submit(0).join().unwrap()));
        Pool::cpu_default().submit(submit).join()
    });
    assert_eq!(inner.unwrap(), ("inner".to_owned(), "inner".to_owned()));
}

#[cfg(feature = "tokio")]
#[test]
fn a_submitted_future_is_polled_in_the_span_of_its_caller() {
    subscribe();
    let request = info_span!("request");
    assert_eq!(request.in_scope(async_span::submit).join().unwrap(), ["request", "request"]);
}

#[test]
fn both_halves_of_a_join_run_in_the_span_of_the_caller() {
    subscribe();
    let pool = Pool::cpu("halves").threads(2).build().expect("threads start");
    // The halves meet, so they run on two threads.
    let meet = || {
        let both = std::sync::Barrier::new(2);
        let half = || {
            both.wait();
            here()
        };
        fanfold::join(half, half)
    };
    let inside = ("request".to_owned(), "request".to_owned());
    let task = pool.submit(move || info_span!("request").in_scope(meet));
    assert_eq!(task.join().unwrap(), inside);
    let outside = ("none".to_owned(), "none".to_owned());
    assert_eq!(pool.submit(meet).join().unwrap(), outside, "the threads leave the span");
    assert_eq!(info_span!("request").in_scope(|| fanfold::join(here, here)), inside);
}
