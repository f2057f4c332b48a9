//! Data that does not fit a plan, and files that executors read and write by themselves.

use std::path::Path;

use fanfold::parallel;
use fanfold::prelude::*;
use fanfold_cluster::LocalCluster;
use polars::prelude::*;

fanfold_cluster::cluster_tests!();

#[parallel(kind = "cluster")]
fn same(chunk: DataFrame) -> DataFrame {
    chunk
}

#[parallel(kind = "cluster")]
fn process_and_rows(chunk: DataFrame) -> PolarsResult<DataFrame> {
    df!("process" => [std::process::id()], "rows" => [chunk.height() as u64])
}

#[parallel(kind = "cluster")]
fn halved(chunk: DataFrame) -> PolarsResult<DataFrame> {
    chunk.lazy().select([col("x"), (col("y") / lit(2.0)).alias("half")]).collect()
}

#[parallel(kind = "cluster")]
fn sum_of_x(chunk: DataFrame) -> PolarsResult<i64> {
    Ok(chunk.column("x")?.i64()?.sum().unwrap_or(0))
}

#[parallel(kind = "cluster")]
fn fails_behind_1000(chunk: DataFrame) -> PolarsResult<DataFrame> {
    polars_ensure!(chunk.column("x")?.i64()?.get(0) < Some(1_000), ComputeError: "too far");
    Ok(chunk)
}

#[parallel(kind = "cluster")]
fn twice(chunk: DataFrame) -> PolarsResult<DataFrame> {
    chunk.vstack(&chunk)
}

#[parallel(kind = "cluster")]
fn length(bytes: Vec<u8>) -> usize {
    bytes.len()
}

#[parallel(kind = "cluster")]
fn zeros(count: usize) -> Vec<u8> {
    vec![0; count]
}

fn frame(rows: i64) -> DataFrame {
    let y: Vec<f64> = (0..i32::try_from(rows).expect("few rows")).map(f64::from).collect();
    df!("x" => 0..rows, "y" => y).expect("a frame")
}

fn write(path: &Path, frame: &mut DataFrame) {
    let file = std::fs::File::create(path).expect("the folder is there");
    ParquetWriter::new(file).finish(frame).expect("there is room");
}

#[test]
fn large_arguments_and_results_go_through_the_storage_and_leave_nothing() {
    let storage = tempfile::tempdir().expect("a folder");
    let local = LocalCluster::start_with_slots(2, 1).expect("a cluster");
    let options = fanfold_cluster::Cluster::options().storage(storage.path().to_string_lossy());
    let cluster = options.connect(local.cluster().address()).expect("it runs");
    let df = frame(4_000_000); // 64 MB
    assert_eq!(df.par_chunks(8).on(&cluster).map(same::task()).expect("no chunk fails"), df);
    let lengths: Vec<usize> = length::map([vec![1; 20 << 20], vec![2; 3]]).on(&cluster).collect();
    assert_eq!(lengths, [20 << 20, 3]);
    let large: Vec<Vec<u8>> = zeros::map([12 << 20, 5]).on(&cluster).collect();
    assert_eq!(large.iter().map(Vec::len).collect::<Vec<_>>(), [12 << 20, 5]);
    drop(cluster);
    assert_eq!(std::fs::read_dir(storage.path()).expect("the folder is there").count(), 0);
}

#[test]
fn executors_read_the_files_in_the_chunks_of_a_local_scan() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = frame(10_000);
    for (part, (first, count)) in [(0, (0, 3_500)), (1, (3_500, 100)), (2, (3_600, 6_400))] {
        write(&folder.path().join(format!("{part}.parquet")), &mut whole.slice(first, count));
    }
    let pattern = folder.path().join("*.parquet");
    let cluster = LocalCluster::start_with_slots(2, 2).expect("a cluster");

    let here = scan_parquet(&pattern).par_rows(999).map(halved::serial).collect().expect("no chunk fails");
    let there =
        scan_parquet(&pattern).par_rows(999).on(&cluster).map(halved::task()).collect().expect("no chunk fails");
    assert_eq!(there, here);
    let counts = scan_parquet(&pattern).par_rows(999).on(&cluster).map(process_and_rows::task()).collect();
    let counts = counts.expect("no chunk fails");
    assert_eq!(counts.column("rows").unwrap().u64().unwrap().to_vec()[9..], [Some(999), Some(10)]);
    let sum = scan_parquet(&pattern).on(&cluster).map(sum_of_x::task()).reduce(|a, b| a + b).expect("no chunk fails");
    assert_eq!(sum, (0..10_000).sum::<i64>());

    let target = folder.path().join("halves");
    let scan = scan_parquet(&pattern).par_rows(999).on(&cluster);
    assert_eq!(scan.map(halved::task()).sink_parquet(&target).expect("no chunk fails"), 10_000);
    assert_eq!(scan_parquet(&target).map(Ok).collect().expect("they are complete"), here);
    let again = scan_parquet(&pattern).on(&cluster).map(halved::task()).sink_parquet(&target).unwrap_err();
    assert!(again.to_string().contains("is not empty"), "{again}");
}

#[test]
fn a_scan_that_fails_names_its_chunk_and_removes_its_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.parquet");
    write(&path, &mut frame(2_000));
    let cluster = LocalCluster::start_with_slots(1, 2).expect("a cluster");
    let target = folder.path().join("out");
    let scan = scan_parquet(&path).par_rows(500).on(&cluster).map(fails_behind_1000::task());
    let error = scan.sink_parquet(&target).expect_err("chunk 2 fails");
    assert_eq!((error.chunk(), error.rows()), (2, 1_000..1_500));
    assert!(error.to_string().contains("too far"), "{error}");
    let names = || {
        let entries = std::fs::read_dir(&target).expect("the folder is there");
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
    };
    // A call that was being written when it was cancelled may leave a file that no reader sees.
    assert!(names().all(|name| name.starts_with(".fanfold-")));
    std::fs::write(target.join(".fanfold-0-part-000009.parquet"), "of an executor that was late").expect("written");
    let scan = scan_parquet(&path).par_rows(500).on(&cluster).map(same::task());
    assert_eq!(scan.sink_parquet(&target).expect("the folder counts as empty"), 2_000);
    let whole = names().filter(|name| !name.starts_with(".fanfold-")).count();
    assert_eq!((whole, scan_parquet(&target).map(Ok).collect().expect("it is complete").height()), (4, 2_000));

    let missing = scan_parquet(folder.path().join("no.parquet")).on(&cluster).map(same::task()).collect().unwrap_err();
    let missing = missing.to_string();
    assert!(missing.contains("no.parquet") && !missing.contains("chunk"), "{missing}");
    let selected = scan_parquet(&path).select(["x"]).on(&cluster).map(same::task()).collect().unwrap_err();
    assert!(selected.to_string().contains("a selection"), "{selected}");
}

#[test]
fn without_a_storage_what_fits_is_sent_and_more_is_a_clear_error() {
    let local = LocalCluster::start_with_slots(2, 1).expect("a cluster");
    let cluster = fanfold_cluster::Cluster::options().storage("").connect(local.cluster().address()).expect("it runs");
    let large: Vec<Vec<u8>> = zeros::map(vec![3 << 20; 12]).on(&cluster).chunk_size(1).collect();
    assert!(large.iter().all(|bytes| bytes.len() == 3 << 20));
    let lengths: Vec<usize> = length::map(vec![vec![1; 3 << 20]; 12]).on(&cluster).chunk_size(1).collect();
    assert_eq!(lengths, [3 << 20; 12]);
    let text = |outcome: Result<DataFrame, fanfold::ChunkError>| outcome.expect_err("it is too large").to_string();
    let df = frame(1_000_000);
    let too_long = text(df.par_chunks(1).on(&cluster).map(same::task()));
    assert!(too_long.contains("FANFOLD_CLUSTER_STORAGE") && too_long.contains("arguments"), "{too_long}");
    let grown = text(df.head(Some(400_000)).par_chunks(1).on(&cluster).map(twice::task()));
    assert!(grown.contains("FANFOLD_CLUSTER_STORAGE") && grown.contains("result"), "{grown}");
}
