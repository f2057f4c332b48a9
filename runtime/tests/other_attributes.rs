//! Together with the attributes of others, above and below, and in a crate that renames things.

use fanfold as other_name;
use fanfold::parallel;

/// Shadows what generated code could mean.
mod std {}
#[allow(dead_code)]
struct Result;
#[allow(dead_code)]
struct Option;

#[tracing::instrument]
#[parallel(kind = "cpu")]
fn traced_outside(n: u32) -> u32 {
    tracing::info!("inside");
    n + 1
}

#[parallel(kind = "cpu")]
#[tracing::instrument(skip(n))]
fn traced_inside(n: u32) -> u32 {
    n + 1
}

#[parallel(kind = "io", crate = "other_name")]
fn renamed(n: u32) -> u32 {
    n + 1
}

#[tokio::main(flavor = "current_thread")]
async fn entry(n: u32) -> u32 {
    awaited(n).await + spawned::submit(n).await.expect("no panic")
}

#[parallel(kind = "io")]
async fn awaited(n: u32) -> u32 {
    tokio::task::yield_now().await;
    n
}

#[parallel(kind = "io")]
async fn spawned(n: u32) -> u32 {
    tokio::task::yield_now().await;
    n + 1
}

/// Tokio's attribute makes a blocking function of an async one; then it is one like any other.
#[tokio::main(flavor = "current_thread")]
#[parallel(kind = "io")]
async fn below(n: u32) -> u32 {
    tokio::task::yield_now().await;
    n
}

#[test]
fn spans_of_tracing() {
    assert_eq!(traced_outside(1), 2);
    assert_eq!(traced_inside(1), 2);
    assert_eq!(traced_inside::submit(1).join().expect("no panic"), 2);
    assert_eq!(traced_outside::map(0..3).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn entries_of_tokio() {
    assert_eq!(entry(1), 3);
    assert_eq!(below(5), 5);
}

#[test]
fn the_library_under_another_name() {
    assert_eq!(renamed(1), 2);
    assert_eq!(renamed::map([1, 2]).collect::<Vec<_>>(), [2, 3]);
}
