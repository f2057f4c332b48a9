//! `#[parallel]` together with attributes of other crates, above and below it, and with a renamed library.

use fanfold as other_name;
use fanfold::parallel;

/// Shadows names that generated code might use without a leading `::`.
mod std {}
#[allow(dead_code, reason = "shadows a name of the prelude, and is not used itself")]
struct Result;
#[allow(dead_code, reason = "shadows a name of the prelude, and is not used itself")]
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

/// Tokio's attribute turns an async function into a blocking one, which `#[parallel]` then takes as usual.
#[tokio::main(flavor = "current_thread")]
#[parallel(kind = "io")]
async fn below(n: u32) -> u32 {
    tokio::task::yield_now().await;
    n
}

#[test]
fn functions_with_tracing_instrument() {
    assert_eq!(traced_outside(1), 2);
    assert_eq!(traced_inside(1), 2);
    assert_eq!(traced_inside::submit(1).join().expect("no panic"), 2);
    assert_eq!(traced_outside::map(0..3).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn functions_with_tokio_main() {
    assert_eq!(entry(1), 3);
    assert_eq!(below(5), 5);
}

#[test]
fn functions_of_a_renamed_library() {
    assert_eq!(renamed(1), 2);
    assert_eq!(renamed::map([1, 2]).collect::<Vec<_>>(), [2, 3]);
}
