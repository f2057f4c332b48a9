//! Frame calls on a closed pool: each panics with the function, the pool and the location of the call.

use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::{Arc, Mutex};

use fanfold::prelude::*;
use fanfold::{Pending, Pool};
use polars::prelude::*;

/// The message and file of a panic of `work` on this thread.
fn panics_of(work: impl FnOnce()) -> Option<(String, String)> {
    let seen = Arc::new(Mutex::new(None));
    let (hooked, here) = (Arc::clone(&seen), std::thread::current().id());
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().id() == here {
            let text = info.payload().downcast_ref::<String>().cloned().unwrap_or_default();
            *hooked.lock().expect("no panic") =
                Some((text, info.location().map(Location::file).unwrap_or_default().into()));
        }
    }));
    let caught = catch_unwind(AssertUnwindSafe(work));
    std::panic::set_hook(before);
    let seen = seen.lock().expect("no panic").take();
    caught.err().and(seen)
}

type Entry = fn(&DataFrame, &Pool, &std::path::Path);

const ENTRIES: &[(&str, Entry)] = &[
    ("chunks", |df, pool, _| drop(df.par_chunks(3).on(pool).map(Ok))),
    ("try_map", |df, pool, _| drop(df.par_rows(2).on(pool).try_map(Ok::<_, PolarsError>))),
    ("map_series", |df, pool, _| drop(df.par().on(pool).map_series(|_| Ok(Series::default())))),
    ("map_reduce", |df, pool, _| drop(df.par_rows(3).on(pool).map_reduce(|df| Ok(df.height()), |a, b| a + b))),
    ("for_each", |df, pool, _| drop(df.par_rows(3).on(pool).for_each(|_| Ok(())))),
    ("map_rows", |df, pool, _| drop(df.par_rows(3).on(pool).map_rows::<(i64,), _, Series>(|(x,)| x))),
    ("groups", |df, pool, _| drop(df.par_groups(["x"]).on(pool).map(Ok))),
    ("map_groups", |df, pool, _| drop(df.par_groups(["x"]).on(pool).map_groups(Ok))),
    ("a series", |df, pool, _| drop(df.column("x").expect("it is there").par_chunks(3).on(pool).map(Ok))),
    ("a column", |df, pool, _| drop(df.par_column("x").on(pool).map(|x: i64| x))),
    ("values", |df, pool, _| drop(df.column("x").expect("it is there").par_values().on(pool).map(|x: i64| x))),
    ("a query", |df, pool, _| drop(df.clone().lazy().par_rows(3).on(pool).map(Ok).collect())),
    ("a scan", |_, pool, path| drop(scan_parquet(path).on(pool).map(Ok).collect())),
    ("a scan's for_each", |_, pool, path| drop(scan_parquet(path).on(pool).for_each(|_| Ok(())))),
    ("a scan's map_reduce", |_, pool, path| {
        drop(scan_parquet(path).on(pool).map_reduce(|df| Ok(df.height()), |a, b| a + b));
    }),
    ("a map's for_each", |_, pool, path| drop(scan_parquet(path).on(pool).map(Ok).for_each(|_| Ok(())))),
    ("a map's reduce", |_, pool, path| {
        drop(scan_parquet(path).on(pool).map(|df| Ok(df.height())).reduce(|a, b| a + b));
    }),
    ("a Parquet sink", |_, pool, path| {
        drop(scan_parquet(path).on(pool).map(Ok).sink_parquet(path.with_extension("new")));
    }),
    ("a CSV sink", |_, pool, path| drop(scan_parquet(path).on(pool).map(Ok).sink_csv(path.with_extension("new")))),
    ("an IPC sink", |_, pool, path| drop(scan_parquet(path).on(pool).map(Ok).sink_ipc(path.with_extension("new")))),
];

/// One test, because the panic hook is global to the process.
#[test]
fn every_call_on_a_closed_pool_panics_with_pool_and_location() {
    static STATIC: Pool = Pool::cpu("static").threads(2);
    let folder = tempfile::tempdir().expect("a folder is created");
    let path = folder.path().join("in.parquet");
    let mut df = df!("x" => [1_i64, 2, 3, 4, 5, 6]).expect("one column");
    ParquetWriter::new(std::fs::File::create(&path).expect("new")).finish(&mut df).expect("written");
    let unused = Pool::io("unused").threads(2).build().expect("threads start");
    let used = Pool::cpu("used").threads(2).build().expect("threads start");
    for pool in [&used, &STATIC] {
        assert_eq!(df.par_chunks(2).on(pool).map(Ok).expect("it is open"), df);
    }
    for (pool, called) in [(&unused, "unused"), (&used, "used"), (&STATIC, "static")] {
        pool.shutdown(Pending::Run);
        for (name, entry) in ENTRIES {
            let panicked = panics_of(|| entry(&df, pool, &path));
            let (text, file) = panicked.unwrap_or_else(|| panic!("{name} on the pool `{called}`: no panic"));
            let of_the_pool = format!("pool `{called}` is shut down");
            assert!(
                text.contains("cannot run on all items: its pool was closed") && text.contains(&of_the_pool),
                "{text}"
            );
            assert_eq!(file, file!(), "{name}: {text}");
        }
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("it is there").count(), 1, "a sink left its file");
}
