//! Queries in chunks give the rows that Polars gives, in the same order where Polars defines one.

use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use fanfold::prelude::*;
use polars::prelude::*;
use tempfile::TempDir;

const TIME_LIMIT: Duration = Duration::from_secs(60);
const ROWS: i64 = 2_500;

/// Rows of many types; `id` is the row number.
fn rows(from: i64, to: i64) -> DataFrame {
    let ids = || from..to;
    let some = |n: i64| (n % 5 != 0).then_some(n);
    df!(
        "id" => ids().collect::<Vec<_>>(),
        "key" => ids().map(|n| n % 7).collect::<Vec<_>>(),
        "maybe" => ids().map(some).collect::<Vec<_>>(),
        "float" => ids().map(|n| f64::from(i32::try_from(n * 37 % 101).expect("small")) / 4.0).collect::<Vec<_>>(),
        "text" => ids().map(|n| (n % 3 != 0).then(|| format!("text of row {}", n % 11))).collect::<Vec<_>>(),
    )
    .expect("equal lengths")
}

/// The columns of [`rows`], a list and a struct.
fn nested(from: i64, to: i64) -> DataFrame {
    let lists = (from..to).map(|n| (n % 4 != 1).then(|| (0..n % 4).collect::<Series>())).collect::<ListChunked>();
    let parts = df!("a" => (from..to).collect::<Vec<_>>(), "b" => (from..to).map(|n| n % 2 == 0).collect::<Vec<_>>());
    let pair = parts.expect("equal lengths").into_struct("pair".into()).into_series();
    let mut nested = rows(from, to);
    nested.with_column(lists.into_series().with_name("list".into()).into_column()).expect("the same length");
    nested.with_column(pair.into_column()).expect("the same length");
    nested
}

struct Inputs {
    folder: TempDir,
}

impl Inputs {
    fn new() -> Self {
        let inputs = Self { folder: tempfile::tempdir().expect("a folder is created") };
        for (part, from) in [("a", 0), ("b", 900), ("c", 1_800)] {
            let to = ROWS.min(from + 900);
            inputs.parquet(&format!("many/{part}.parquet"), &nested(from, to));
            inputs.parquet(&format!("hive/part={part}/rows.parquet"), &rows(from, to));
            inputs.csv(&format!("many/{part}.csv"), &rows(from, to));
            inputs.csv(&format!("hive_csv/part={part}/rows.csv"), &rows(from, to));
            inputs.ipc(&format!("many/{part}.ipc"), &nested(from, to));
            inputs.ipc(&format!("hive_ipc/part={part}/rows.ipc"), &rows(from, to));
        }
        inputs
    }

    fn path(&self, name: &str) -> PlRefPath {
        PlRefPath::new(self.folder.path().join(name).to_str().expect("UTF-8"))
    }

    fn file(&self, name: &str) -> std::fs::File {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("it is in a folder")).expect("it is created");
        std::fs::File::create(path).expect("it is created")
    }

    fn parquet(&self, name: &str, frame: &DataFrame) {
        let writer = ParquetWriter::new(self.file(name)).with_row_group_size(Some(100));
        writer.finish(&mut frame.clone()).expect("written");
    }

    fn csv(&self, name: &str, frame: &DataFrame) {
        CsvWriter::new(self.file(name)).finish(&mut frame.clone()).expect("written");
    }

    fn ipc(&self, name: &str, frame: &DataFrame) {
        IpcWriter::new(self.file(name)).finish(&mut frame.clone()).expect("written");
    }

    fn scan(&self, name: &str) -> LazyFrame {
        LazyFrame::scan_parquet(self.path(name), ScanArgsParquet::default()).expect("it is there")
    }

    fn scan_with(&self, name: &str, args: ScanArgsParquet) -> LazyFrame {
        LazyFrame::scan_parquet(self.path(name), args).expect("it is there")
    }

    fn scan_csv(&self, name: &str) -> LazyFrame {
        LazyCsvReader::new(self.path(name)).with_glob(true).finish().expect("it is there")
    }

    fn scan_ipc(&self, name: &str) -> LazyFrame {
        self.scan_ipc_with(name, UnifiedScanArgs::default())
    }

    fn scan_ipc_with(&self, name: &str, args: UnifiedScanArgs) -> LazyFrame {
        LazyFrame::scan_ipc(self.path(name), IpcScanOptions::default(), args).expect("it is there")
    }
}

fn memory() -> LazyFrame {
    nested(0, ROWS).lazy()
}

/// The right side of joins with [`memory`]: some keys occur twice, others do not occur.
fn other() -> LazyFrame {
    df!("key" => [5_i64, 1, 2, 2, 9], "name" => ["five", "one", "two", "deux", "nine"]).expect("equal lengths").lazy()
}

fn join(how: JoinType, order: MaintainOrderJoin) -> LazyFrame {
    let joined = memory().join_builder().with(other()).how(how).left_on([col("key")]).right_on([col("key")]);
    joined.maintain_order(order).finish()
}

fn union(maintain_order: bool) -> UnionArgs {
    UnionArgs { maintain_order, ..UnionArgs::default() }
}

fn index() -> RowIndex {
    RowIndex { name: "index".into(), offset: 10 }
}

fn sums() -> [Expr; 4] {
    [col("id").sum().alias("sum"), col("text").first().alias("first"), col("maybe").count().alias("count"), len()]
}

/// Whether Polars defines the order of the rows.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    Given,
    Any,
}
use Order::{Any, Given};

type Query = fn(&Inputs) -> LazyFrame;

const QUERIES: &[(&str, Order, Query)] = &[
    // Inputs.
    ("memory", Given, |_| memory()),
    ("no rows", Given, |_| memory().filter(lit(false))),
    ("no rows at all", Given, |_| memory().limit(0)),
    ("no columns", Given, |_| memory().select(Vec::<Expr>::new())),
    ("parquet", Given, |inputs| inputs.scan("many/a.parquet")),
    ("parquet pattern", Given, |inputs| inputs.scan("many/*.parquet")),
    ("parquet pattern of two", Given, |inputs| inputs.scan("many/[ac].parquet")),
    ("parquet paths", Given, |inputs| {
        let paths = ["many/c.parquet", "many/a.parquet"].map(|name| inputs.path(name));
        LazyFrame::scan_parquet_files(paths.to_vec().into(), ScanArgsParquet::default()).expect("they are there")
    }),
    ("parquet hive", Given, |inputs| inputs.scan("hive")),
    ("parquet hive, filtered by the key", Given, |inputs| inputs.scan("hive").filter(col("part").gt(lit("a")))),
    ("parquet hive pattern", Given, |inputs| inputs.scan("hive/**/*.parquet")),
    ("parquet hive, the key alone", Given, |inputs| inputs.scan("hive").select([col("part")])),
    ("parquet, paths included", Given, |inputs| {
        let args = ScanArgsParquet { include_file_paths: Some("path".into()), ..Default::default() };
        inputs.scan_with("many/*.parquet", args)
    }),
    ("parquet, the paths alone", Given, |inputs| {
        let args = ScanArgsParquet { include_file_paths: Some("path".into()), ..Default::default() };
        inputs.scan_with("many/*.parquet", args).select([col("path")])
    }),
    ("parquet, row index", Given, |inputs| {
        inputs.scan_with("many/*.parquet", ScanArgsParquet { row_index: Some(index()), ..Default::default() })
    }),
    ("parquet, some rows", Given, |inputs| {
        inputs.scan_with("many/*.parquet", ScanArgsParquet { n_rows: Some(1_111), ..Default::default() })
    }),
    ("parquet, no columns", Given, |inputs| inputs.scan("many/*.parquet").select(Vec::<Expr>::new())),
    ("csv", Given, |inputs| inputs.scan_csv("many/a.csv")),
    ("csv pattern", Given, |inputs| inputs.scan_csv("many/*.csv")),
    ("csv pattern, filtered", Given, |inputs| inputs.scan_csv("many/*.csv").filter(col("maybe").is_null())),
    ("csv hive pattern", Given, |inputs| inputs.scan_csv("hive_csv/**/*.csv")),
    ("csv folder", Given, |inputs| inputs.scan_csv("hive_csv")),
    ("csv, paths included", Given, |inputs| {
        let reader = LazyCsvReader::new(inputs.path("many/*.csv")).with_include_file_paths(Some("path".into()));
        reader.with_glob(true).finish().expect("it is there")
    }),
    ("csv, row index and options", Given, |inputs| {
        let reader = LazyCsvReader::new(inputs.path("many/b.csv")).with_row_index(Some(index())).with_skip_rows(3);
        reader.with_has_header(false).with_n_rows(Some(500)).finish().expect("it is there")
    }),
    ("csv, a column too long", Given, |inputs| inputs.scan_csv("many/*.csv").select([col("text"), col("id")])),
    ("ipc", Given, |inputs| inputs.scan_ipc("many/a.ipc")),
    ("ipc pattern", Given, |inputs| inputs.scan_ipc("many/*.ipc")),
    ("ipc hive", Given, |inputs| inputs.scan_ipc("hive_ipc")),
    ("ipc, paths included and row index", Given, |inputs| {
        let include_file_paths = Some("path".into());
        inputs.scan_ipc_with(
            "many/*.ipc",
            UnifiedScanArgs { include_file_paths, row_index: Some(index()), ..Default::default() },
        )
    }),
    ("ipc, last rows", Given, |inputs| inputs.scan_ipc("many/*.ipc").tail(777)),
    // Rows and columns.
    ("slice", Given, |inputs| inputs.scan("many/*.parquet").slice(850, 120)),
    ("slice from the end", Given, |inputs| inputs.scan("many/*.parquet").slice(-1_650, 900)),
    ("slice beyond the end", Given, |_| memory().slice(2_400, 900)),
    ("slice of a filter", Given, |_| memory().filter(col("key").eq(lit(3_i64))).slice(10, 200)),
    ("filter of a slice", Given, |_| memory().slice(10, 2_000).filter(col("key").eq(lit(3_i64)))),
    ("tail", Given, |_| memory().tail(333)),
    ("reverse", Given, |_| memory().reverse()),
    ("shift", Given, |_| memory().shift(lit(7))),
    ("row index", Given, |inputs| inputs.scan_csv("many/*.csv").with_row_index("n", Some(5))),
    ("row index, filtered", Given, |_| memory().with_row_index("n", None).filter(col("n").gt(lit(1_000)))),
    ("new columns", Given, |_| memory().with_columns([(col("id") * lit(2)).alias("twice"), lit("x").alias("literal")])),
    ("literals alone", Given, |_| memory().select([lit(1).alias("one")])),
    ("sums and rows", Given, |_| memory().select([col("id"), col("float").sum().alias("sum")])),
    ("over a key", Given, |_| {
        memory().select([col("id"), col("float").max().over([col("key")]).expect("a key").alias("most")])
    }),
    ("running sum", Given, |_| memory().select([col("id"), col("id").shift(lit(1)).alias("before")])),
    ("renamed and dropped", Given, |_| memory().rename(["id"], ["row"], true).drop(by_name(["text"], true, false))),
    ("filled and cast", Given, |_| memory().select([col("maybe").fill_null(lit(-1)).cast(DataType::Float32)])),
    ("drop nulls", Given, |_| memory().drop_nulls(None)),
    // Nested columns.
    ("explode", Given, |_| memory().explode(by_name(["list"], true, false), explode())),
    ("explode of a filter", Given, |inputs| {
        inputs
            .scan("many/*.parquet")
            .filter(col("key").lt(lit(3_i64)))
            .explode(by_name(["list"], true, false), explode())
    }),
    ("unnest", Given, |_| memory().unnest(by_name(["pair"], true, false), None)),
    ("unnest of a file", Given, |inputs| {
        inputs.scan_ipc("many/*.ipc").unnest(by_name(["pair"], true, false), Some("_".into()))
    }),
    // Joins.
    ("inner join", Any, |_| join(JoinType::Inner, MaintainOrderJoin::None)),
    ("inner join, left order", Given, |_| join(JoinType::Inner, MaintainOrderJoin::LeftRight)),
    ("inner join, right order", Given, |_| join(JoinType::Inner, MaintainOrderJoin::RightLeft)),
    ("left join", Any, |_| join(JoinType::Left, MaintainOrderJoin::None)),
    ("left join, left order", Given, |_| join(JoinType::Left, MaintainOrderJoin::LeftRight)),
    ("right join", Any, |_| join(JoinType::Right, MaintainOrderJoin::None)),
    ("full join", Any, |_| join(JoinType::Full, MaintainOrderJoin::None)),
    ("join of two files", Any, |inputs| {
        let joined = inputs.scan("many/*.parquet").join_builder().with(inputs.scan_csv("many/b.csv"));
        joined.on([col("id")]).how(JoinType::Inner).suffix("_csv").finish()
    }),
    ("join with itself", Any, |inputs| {
        let rows = inputs.scan("many/*.parquet").select([col("id"), col("key")]);
        let keys = rows.clone().group_by([col("key")]).agg([len()]);
        rows.join(keys, [col("key")], [col("key")], JoinArgs::new(JoinType::Left))
    }),
    // Unions.
    ("union", Given, |inputs| {
        let parts = [inputs.scan("many/c.parquet"), memory(), inputs.scan_ipc("many/a.ipc")];
        concat(parts, union(true)).expect("equal columns")
    }),
    ("union in any order", Any, |inputs| {
        let parts = [inputs.scan("many/c.parquet"), memory(), inputs.scan_ipc("many/a.ipc")];
        concat(parts, union(false)).expect("equal columns")
    }),
    ("union of one", Given, |_| concat([memory()], union(true)).expect("it is one")),
    ("union with nothing", Given, |_| {
        concat([memory().limit(0), memory(), memory().limit(0)], union(true)).expect("equal")
    }),
    ("union of slices", Given, |_| {
        concat([memory().limit(10), memory().tail(10)], union(true)).expect("equal columns")
    }),
    ("union of supertypes", Given, |_| {
        let parts = [memory().select([col("id")]), memory().select([col("id").cast(DataType::Float64) / lit(2)])];
        concat(parts, UnionArgs { to_supertypes: true, ..union(true) }).expect("types can be had")
    }),
    ("slice of a union", Given, |inputs| {
        concat([memory(), inputs.scan("many/*.parquet")], union(true)).expect("equal columns").slice(2_450, 200)
    }),
    ("side by side", Given, |_| {
        let parts = [memory().select([col("id")]), memory().select([col("text")])];
        concat_lf_horizontal(parts, HConcatOptions::default()).expect("other columns")
    }),
    ("side by side, one shorter", Given, |_| {
        let parts = [memory().select([col("id")]), memory().select([col("text")]).limit(100)];
        concat_lf_horizontal(parts, HConcatOptions::default()).expect("other columns")
    }),
    // One part of a query that is used several times.
    ("cache", Given, |_| memory().cache()),
    ("cache used twice", Given, |inputs| {
        let cached = inputs.scan("many/*.parquet").filter(col("key").gt(lit(2_i64))).cache();
        concat([cached.clone(), cached.reverse()], union(true)).expect("equal columns")
    }),
    ("cache joined with itself", Any, |inputs| {
        let cached = inputs.scan("many/*.parquet").select([col("id"), col("key")]).cache();
        let keys = cached.clone().group_by([col("key")]).agg([col("id").max().alias("most")]);
        cached.join(keys, [col("key")], [col("key")], JoinArgs::new(JoinType::Inner))
    }),
    ("cache of a hive folder, twice", Given, |inputs| {
        let cached = inputs.scan("hive").cache();
        let parts = ["c", "a"].map(|part| cached.clone().filter(col("part").eq(lit(part))));
        concat(parts, union(true)).expect("equal columns")
    }),
    ("one scan used three times", Given, |inputs| {
        let scan = inputs.scan_csv("many/*.csv").with_columns([(col("id") + col("key")).alias("both")]);
        concat([scan.clone(), scan.clone(), scan], union(true)).expect("equal columns")
    }),
    ("equal expressions", Given, |_| {
        let costly = || (col("id") * col("key") + lit(1)).cast(DataType::Float64);
        memory().select([costly().alias("x"), (costly() * lit(2)).alias("y"), costly().max().alias("z")])
    }),
    // Groups and order.
    ("group", Any, |_| memory().group_by([col("key")]).agg(sums())),
    ("group in order", Given, |_| memory().group_by_stable([col("key")]).agg(sums())),
    ("group of a pattern", Given, |inputs| inputs.scan_csv("many/*.csv").group_by_stable([col("text")]).agg(sums())),
    ("group into lists", Given, |_| memory().group_by_stable([col("key")]).agg([col("id"), col("pair")])),
    ("group of a hive folder", Any, |inputs| inputs.scan("hive").group_by([col("part"), col("key")]).agg(sums())),
    ("unique", Any, |_| memory().select([col("key"), col("text")]).unique(None, UniqueKeepStrategy::Any)),
    ("unique in order", Given, |_| {
        memory().unique_stable(Some(by_name(["key"], true, false)), UniqueKeepStrategy::First)
    }),
    ("totals", Given, |inputs| inputs.scan("many/*.parquet").select(sums())),
    ("sort", Given, |_| memory().sort(["float", "id"], SortMultipleOptions::default())),
    ("stable descending sort", Given, |inputs| {
        let options = SortMultipleOptions::default().with_order_descending(true).with_maintain_order(true);
        inputs.scan("many/*.parquet").sort(["key"], options)
    }),
    ("sort, nulls last, of a slice", Given, |_| {
        let options = SortMultipleOptions::default().with_nulls_last(true).with_maintain_order(true);
        memory().sort(["maybe"], options).slice(1_900, 500)
    }),
    ("top rows", Given, |_| {
        memory().top_k(20, [col("id")], SortMultipleOptions::default()).sort(["id"], SortMultipleOptions::default())
    }),
    ("a function", Given, |_| memory().map(|df| Ok(df.tail(Some(1_500))), AllowedOptimizations::default(), None, None)),
    ("a function by batches", Given, |inputs| {
        let allowed = AllowedOptimizations::default() | OptFlags::STREAMING;
        inputs.scan("many/*.parquet").map(Ok, allowed, None, Some("rows")).filter(col("key").gt(lit(1_i64)))
    }),
    ("without optimizations", Given, |inputs| {
        let query = inputs.scan("many/*.parquet").filter(col("key").gt(lit(3_i64))).select([col("id")]).slice(40, 900);
        query.without_optimizations()
    }),
];

fn explode() -> ExplodeOptions {
    ExplodeOptions { empty_as_null: true, keep_nulls: true }
}

/// The rows of a frame in an order that depends only on their values.
fn ordered(frame: &DataFrame) -> DataFrame {
    let by = frame.get_column_names_owned();
    frame.sort(by, SortMultipleOptions::default().with_nulls_last(true)).expect("it can be sorted")
}

fn compare(name: &str, order: Order, query: &LazyFrame, rows: usize) -> Result<(), String> {
    let (sender, done) = mpsc::channel();
    let scan = query.clone().par_rows(rows);
    thread::spawn(move || sender.send(scan.map(Ok).collect()));
    let found = done.recv_timeout(TIME_LIMIT).map_err(|_| format!("{name}: hangs in chunks of {rows}"))?;
    let wanted = query.clone().collect();
    let (found, wanted) = match (found, wanted) {
        (Ok(found), Ok(wanted)) => (found, wanted),
        (found, wanted) => return Err(format!("{name}: in chunks of {rows} {found:?}, and alone {wanted:?}")),
    };
    if found.schema() != wanted.schema() {
        return Err(format!("{name}: in chunks of {rows} {:?}, and alone {:?}", found.schema(), wanted.schema()));
    }
    let same =
        |found: &DataFrame, wanted: &DataFrame| found.height() == wanted.height() && found.equals_missing(wanted);
    if !match order {
        Given => same(&found, &wanted),
        Any => same(&ordered(&found), &ordered(&wanted)),
    } {
        return Err(format!("{name}: in chunks of {rows} {found}, and alone {wanted}"));
    }
    Ok(())
}

fn compare_all() {
    let inputs = Inputs::new();
    let mut failed = Vec::new();
    for &(name, order, query) in QUERIES {
        let query = query(&inputs);
        failed.extend([16, 999, 1 << 20].iter().filter_map(|&rows| compare(name, order, &query, rows).err()));
    }
    assert!(failed.is_empty(), "{} differ:\n{}", failed.len(), failed.join("\n"));
}

/// Runs the test of this name in a process in which Polars' streaming engine takes batches of this many rows.
#[track_caller]
fn in_morsels_of(rows: &str, threads: &str, test: &str) {
    const CHILD: &str = "FANFOLD_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        return compare_all();
    }
    let output = Command::new(std::env::current_exe().expect("this program has a path"))
        .args([&format!("scan_queries::{test}"), "--exact", "--nocapture"])
        .env(CHILD, "1")
        .env("FANFOLD_CPU_THREADS", threads)
        .env("POLARS_MAX_THREADS", threads)
        .env("POLARS_IDEAL_MORSEL_SIZE", rows)
        .output()
        .expect("this program starts again");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn queries_give_the_result_of_polars() {
    in_morsels_of("100000", "3", "queries_give_the_result_of_polars");
}

#[test]
fn queries_in_many_batches_give_the_result_of_polars() {
    in_morsels_of("50", "3", "queries_in_many_batches_give_the_result_of_polars");
}

#[test]
fn queries_on_one_thread_give_the_result_of_polars() {
    in_morsels_of("50", "1", "queries_on_one_thread_give_the_result_of_polars");
}

/// A query that is stopped before its last row leaves no waiting thread, for every kind of query.
#[test]
fn queries_that_are_stopped_early_end() {
    let inputs = Inputs::new();
    for &(name, _, query) in QUERIES {
        let scan = query(&inputs).par_rows(16);
        let (sender, done) = mpsc::channel();
        thread::spawn(move || {
            sender.send(scan.for_each(|chunk| {
                polars_ensure!(chunk.height() == 0, ComputeError: "stop");
                Ok(())
            }))
        });
        let stopped = done.recv_timeout(TIME_LIMIT).unwrap_or_else(|_| panic!("{name}: hangs"));
        if let Err(error) = stopped {
            assert!(error.to_string().contains("stop"), "{name}: {error}");
        }
    }
}

type Position = fn(LazyFrame) -> LazyFrame;

/// Positions of a scan inside a query.
const POSITIONS: &[(&str, Position)] = &[
    ("the scan itself", |scan| scan),
    ("with its schema asked for", |mut scan| {
        scan.collect_schema().expect("the files are there");
        scan
    }),
    ("with its schema asked for, and more", |mut scan| {
        scan.collect_schema().expect("the files are there");
        scan.filter(col("id").gt(lit(-1_i64))).cache().select([col("id")])
    }),
    ("gathered", |scan| scan.gather(df!("row" => 0..10_u32).expect("one column").lazy(), false)),
    ("rows to gather", |scan| memory().gather(scan.select([col("id").cast(DataType::UInt32)]), false)),
    ("piped", |scan| scan.pipe_with_schema(PlanCallback::new(|(mut plans, _): (Vec<DslPlan>, _)| Ok(plans.remove(0))))),
    ("joined", |scan| memory().join(scan, [col("id")], [col("id")], JoinArgs::new(JoinType::Inner))),
    ("in a union", |scan| concat([scan, memory().limit(0).select([col("id")])], union(true)).expect("equal columns")),
];

#[test]
fn files_being_written_are_hidden_at_every_position_of_a_scan() {
    for &(name, around) in POSITIONS {
        let folder = tempfile::tempdir().expect("a folder is created");
        let write = |name: &str, rows: DataFrame| {
            let file = std::fs::File::create(folder.path().join(name)).expect("it is created");
            ParquetWriter::new(file).finish(&mut rows.select(["id"]).expect("it is there")).expect("written");
        };
        write("a.parquet", rows(0, 10));
        let pattern = PlRefPath::new(folder.path().join("*").to_str().expect("UTF-8"));
        let scan = LazyFrame::scan_parquet(pattern, ScanArgsParquet::default()).expect("it is there");
        let query = around(scan);
        write(".fanfold-abcdef.tmp", rows(10, 20));
        let read = query.par().map(Ok).collect().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(read.height(), 10, "{name}");
    }
}
