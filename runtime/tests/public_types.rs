//! What every public type implements: `Debug`, and what lets it cross threads and `catch_unwind`.

use std::fmt::Debug;
use std::panic::{RefUnwindSafe, UnwindSafe};

use fanfold::*;

/// Names types as generic arguments, so that each is checked against the bound.
macro_rules! all {
    ($bound:ident: $($ty:ty),* $(,)?) => { $( $bound::<$ty>(); )* };
}

fn debug<T: Debug + ?Sized>() {}
fn send<T: Send>() {}
fn sync<T: Sync>() {}
fn unwind_safe<T: UnwindSafe + RefUnwindSafe>() {}

/// A type without any trait.
struct Opaque(#[allow(dead_code, reason = "it stands for what it is not")] *const ());

type Numbers = MapIter<std::vec::IntoIter<u32>, u32>;

#[test]
fn every_type_can_be_printed() {
    all!(debug: AbortHandle, AsCompleted<Opaque, Opaque>, CancelOnDrop<Opaque>, Completed<Opaque, Opaque>);
    all!(debug: FlatTask<Opaque, Opaque>, JoinTimeout<Task<Opaque>>, Outcome<'_>, Payload, Scope<'_, '_>);
    all!(debug: ScopedTask<'_, Opaque>, Task<Opaque>, TaskError, TaskId, TaskSet<Opaque>, Until);
    all!(debug: BadVariable, BuildError, Configure, ConfigureError, On<'_, Opaque, Opaque, Opaque>, OnBlockedRuntime, Pending, Pool, Stats);
    all!(debug: Chunks<'_, u8>, ChunksMut<'_, u8>, Windows<'_, u8>, GatherError, Zip<Vec<u8>, Vec<u8>>);
    all!(debug: Map<Opaque, Opaque, Opaque>, MapFold<Opaque, Opaque, Opaque, Opaque, Opaque>, Numbers);
    #[cfg(feature = "process")]
    all!(debug: Bytes, ChannelError, Receiver<u8>, Sender<u8>);
    #[cfg(feature = "polars")]
    all!(debug: ByGroups, ByRows, ChunkError, ColumnMap<'_>, FrameChunks<'_, polars::prelude::DataFrame, ByRows>);
    #[cfg(feature = "polars-lazy")]
    all!(debug: Scan, ScanError, ScanMap<Opaque>);

    let map = Pool::io_default().map(0..3, |n| n + 1);
    assert!(format!("{map:?}").starts_with("Map { function: \"public_types::"), "{map:?}");
    assert_eq!(map.collect::<Vec<u32>>(), [1, 2, 3]);
    scope(|s| {
        assert_eq!(format!("{s:?}"), "Scope { pending: 0, .. }");
        let task = s.submit(|| ());
        assert!(format!("{task:?}").starts_with("ScopedTask(Task { id: "), "{task:?}");
    });
}

#[test]
fn handles_may_cross_threads_and_panics() {
    all!(send: AbortHandle, AsCompleted<u8, u8>, CancelOnDrop<u8>, Completed<u8, u8>, FlatTask<u8, u8>, Task<u8>);
    all!(send: JoinTimeout<CancelOnDrop<u8>>, Numbers, Pool, TaskError, TaskSet<u8>, Outcome<'_>, Payload);
    all!(sync: AbortHandle, CancelOnDrop<u8>, FlatTask<u8, u8>, Pool, Task<u8>, TaskError);
    all!(unwind_safe: AbortHandle, CancelOnDrop<Opaque>, FlatTask<Opaque, Opaque>, Pool, Task<Opaque>, TaskError);
}

#[test]
fn an_iterator_over_a_map_goes_on_in_another_thread() {
    let mut squares = Pool::cpu_default().map(0_u64.., |n| n * n).buffer(8).into_iter();
    assert_eq!(squares.next(), Some(0));
    let next = std::thread::spawn(move || squares.by_ref().take(3).collect::<Vec<_>>());
    assert_eq!(next.join().expect("no panic"), [1, 4, 9]);
}

#[test]
fn a_task_may_be_captured_by_catch_unwind() {
    let task = submit(|| 7);
    let joined = std::panic::catch_unwind(|| task.join().expect("no panic"));
    assert_eq!(joined.expect("no panic"), 7);
    let pool = Pool::io("caught").threads(1).build().expect("a thread starts");
    assert_eq!(std::panic::catch_unwind(|| pool.install(|| 8)).expect("no panic"), 8);
}
