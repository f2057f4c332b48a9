//! Objects: large data, scans and sinks by address, and what a killed driver leaves. The same checks run on `file://`
//! addresses, and on a bucket where `FANFOLD_TEST_S3` names the endpoint of one.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fanfold::parallel;
use fanfold::prelude::*;
use fanfold_cluster::{Cluster, LocalCluster};
use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use polars::prelude::*;

fanfold_cluster::cluster_tests!();

#[parallel(kind = "cluster")]
fn same(chunk: DataFrame) -> DataFrame {
    chunk
}

#[parallel(kind = "cluster")]
fn halved(chunk: DataFrame) -> PolarsResult<DataFrame> {
    chunk.lazy().select([col("x"), (col("y") / lit(2.0)).alias("half")]).collect()
}

#[parallel(kind = "cluster")]
fn fails_behind_1000(chunk: DataFrame) -> PolarsResult<DataFrame> {
    polars_ensure!(chunk.column("x")?.i64()?.get(0) < Some(1_000), ComputeError: "too far");
    Ok(chunk)
}

#[parallel(kind = "cluster")]
fn endless(_: Vec<u8>) {
    loop {
        std::thread::park();
    }
}

fn frame(rows: i64) -> DataFrame {
    let y: Vec<f64> = (0..i32::try_from(rows).expect("few rows")).map(f64::from).collect();
    df!("x" => 0..rows, "y" => y).expect("a frame")
}

/// The store of an address, with the credentials of the environment.
struct Store {
    objects: Box<dyn ObjectStore>,
    base: Path,
    runtime: tokio::runtime::Runtime,
}

impl Store {
    fn open(address: &str) -> Self {
        let url = address.parse().expect("it is an address");
        let options = std::env::vars().map(|(name, value)| (name.to_ascii_lowercase(), value));
        let (store, base) = object_store::parse_url_opts(&url, options).expect("it is known");
        Self { objects: store, base, runtime: tokio::runtime::Runtime::new().expect("threads can be had") }
    }

    /// The number of objects in a folder.
    fn count(&self, folder: &str) -> usize {
        let folder = self.base.clone().join(folder);
        let listed = self.objects.list(Some(&folder)).try_collect::<Vec<_>>();
        self.runtime.block_on(listed).expect("it can be listed").len()
    }

    fn put(&self, name: &str, bytes: Vec<u8>) {
        let path = Path::from(format!("{}/{name}", self.base));
        self.runtime.block_on(self.objects.put(&path, bytes.into())).expect("it can be written");
    }
}

/// A process that is killed at the end.
struct Part(Child);

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// This program as a driver that runs one ignored test.
fn driver(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("it has a path"));
    command.args(["--exact", test, "--ignored", "--nocapture"]).stdin(Stdio::null());
    command
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Arguments and results that do not fit a plan.
fn check_large_data(local: &LocalCluster, base: &str) {
    let options = Cluster::options().storage(format!("{base}/scratch"));
    let cluster = options.connect(local.cluster().address()).expect("it runs");
    let df = frame(1_000_000); // 16 MB
    assert_eq!(df.par_chunks(4).on(&cluster).map(same::task()).expect("no chunk fails"), df);
    drop(cluster);
    assert_eq!(Store::open(base).count("scratch"), 0);
}

fn check_scans_and_sinks(local: &LocalCluster, base: &str) {
    let store = Store::open(base);
    let whole = frame(10_000);
    for (part, (first, count)) in [(0, (0, 3_500)), (1, (3_500, 100)), (2, (3_600, 6_400))] {
        let mut bytes = Vec::new();
        // Chunks need some of the row groups only.
        let writer = ParquetWriter::new(&mut bytes).with_row_group_size(Some(700));
        writer.finish(&mut whole.slice(first, count)).expect("it can be encoded");
        store.put(&format!("in/{part}.parquet"), bytes);
    }
    store.put("in/readme.txt", vec![1]);
    let expected = halved::serial(whole).expect("it has the columns");
    for input in ["in", "in/*.parquet"] {
        let scan = scan_parquet(format!("{base}/{input}")).par_rows(999).on(local);
        assert_eq!(scan.map(halved::task()).collect().expect("no chunk fails"), expected, "{input}");
    }
    let one = scan_parquet(format!("{base}/in/1.parquet")).on(local).map(same::task()).collect();
    assert_eq!(one.expect("no chunk fails").height(), 100);

    let (input, target) = (format!("{base}/in/*.parquet"), format!("{base}/out"));
    let sink = || scan_parquet(&input).par_rows(999).on(local).map(halved::task()).sink_parquet(&target);
    assert_eq!(sink().expect("no chunk fails"), 10_000);
    let again = scan_parquet(&target).on(local).map(same::task()).collect();
    assert_eq!(again.expect("they are complete"), expected);
    assert!(sink().unwrap_err().to_string().contains("is not empty"));

    let failing = scan_parquet(&input).par_rows(500).on(local).map(fails_behind_1000::task());
    let error = failing.sink_parquet(format!("{base}/failed")).expect_err("chunk 2 fails");
    assert_eq!((error.chunk(), error.rows()), (2, 1_000..1_500));
    assert_eq!(store.count("failed"), 0);
    let missing = scan_parquet(format!("{base}/no/*.parquet")).on(local).map(same::task()).collect().unwrap_err();
    assert!(missing.to_string().contains("no file matches"), "{missing}");
}

/// A driver that is killed while its call runs, and whose arguments are in the storage.
fn check_killed_driver(local: &LocalCluster, base: &str) {
    let store = Store::open(base);
    let mut driver = driver("runs_forever");
    driver.env("TEST_ADDRESS", local.cluster().address()).env("TEST_STORAGE", format!("{base}/killed"));
    let mut driver = Part(driver.spawn().expect("it starts"));
    // The lease and the arguments of both calls; an executor that takes one watches the lease.
    wait_until("the calls are sent", || store.count("killed") >= 3);
    let taken = local.executor_ids();
    let children = |executor: &u32| {
        let threads = std::fs::read_dir(format!("/proc/{executor}/task")).expect("it runs").flatten();
        let mut children = threads.map(|thread| std::fs::read_to_string(thread.path().join("children")));
        children.any(|children| children.is_ok_and(|children| !children.trim().is_empty()))
    };
    wait_until("the calls begin", || taken.iter().all(children));
    driver.0.kill().expect("it runs");
    driver.0.wait().expect("it was killed");
    assert!(store.count("killed") >= 3);
    wait_until("the data is deleted", || store.count("killed") == 0);
}

#[test]
#[ignore = "a driver of the check above"]
fn runs_forever() {
    let storage = std::env::var("TEST_STORAGE").expect("the test sets it");
    let address = std::env::var("TEST_ADDRESS").expect("the test sets it");
    let cluster = Cluster::options().storage(storage).connect(&address).expect("it runs");
    endless::map(vec![vec![1; 4 << 20]; 2]).on(&cluster).chunk_size(1).for_each(drop);
}

#[test]
fn data_scans_and_sinks_may_be_objects_of_a_file_system() {
    let folder = tempfile::tempdir().expect("a folder");
    let base = format!("file://{}", folder.path().display());
    let local = LocalCluster::start_with_slots(2, 1).expect("a cluster");
    check_large_data(&local, &base);
    check_scans_and_sinks(&local, &base);
}

#[test]
fn data_scans_and_sinks_may_be_objects_of_a_bucket() {
    let Ok(endpoint) = std::env::var("FANFOLD_TEST_S3") else {
        println!(
            "skipped, as FANFOLD_TEST_S3 names no endpoint of an S3-compatible server with a bucket `fanfold-test`, \
             such as http://127.0.0.1:5000"
        );
        return;
    };
    if !cfg!(feature = "s3") {
        println!("skipped, as this test program was built without the feature `s3`");
        return;
    }
    let mut driver = driver("checks_of_a_bucket");
    driver.env("AWS_ENDPOINT_URL", endpoint).env("AWS_ALLOW_HTTP", "true");
    for (name, default) in
        [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"), ("AWS_REGION", "us-east-1")]
    {
        driver.env(name, std::env::var(name).unwrap_or_else(|_| default.into()));
    }
    assert!(driver.status().expect("it starts").success());
}

#[test]
#[ignore = "a driver of the test above, which sets its environment"]
fn checks_of_a_bucket() {
    let base = format!("s3://fanfold-test/{}", std::process::id());
    let local = LocalCluster::start_with_slots(2, 1).expect("a cluster");
    check_large_data(&local, &base);
    check_scans_and_sinks(&local, &base);
    check_killed_driver(&local, &base);
}
