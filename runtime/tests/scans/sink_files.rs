//! Files that sinks write: complete, synced to the disk, and without leftovers in their folder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fanfold::ScanError;
use fanfold::prelude::*;
use polars::prelude::*;
use tempfile::TempDir;

/// Set in a process that runs one test of this program.
const CHILD: &str = "FANFOLD_TEST_CHILD";
/// Longer than any slow machine needs; reaching it means that the test hangs.
const TIME_LIMIT: Duration = Duration::from_secs(60);

const FORMATS: [&str; 3] = ["parquet", "csv", "ipc"];

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder is created")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("it is there");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

fn frame(rows: i32) -> DataFrame {
    df!("x" => (0..rows).map(i64::from).collect::<Vec<_>>()).expect("one column")
}

fn sink<F>(scan: fanfold::ScanMap<F>, format: &str, path: &Path) -> Result<(), ScanError>
where
    F: Fn(DataFrame) -> PolarsResult<DataFrame> + Sync,
{
    match format {
        "parquet" => scan.sink_parquet(path),
        "csv" => scan.sink_csv(path),
        _ => scan.sink_ipc(path),
    }
}

fn scan(format: &str, path: &Path) -> fanfold::Scan {
    match format {
        "parquet" => scan_parquet(path),
        "csv" => scan_csv(path),
        _ => scan_ipc(path),
    }
}

#[test]
fn a_sink_that_may_not_overwrite_leaves_existing_files() {
    for format in FORMATS {
        let folder = folder();
        let path = folder.path().join("out");
        let lazy = || frame(10).lazy().par_rows(4).map(Ok).overwrite(false);
        sink(lazy(), format, &path).expect("it is not there");
        let before = fs::read(&path).expect("it is there");
        // Nothing is read before the error.
        let unread = frame(10).lazy().par_rows(4).map(|_| panic!("a chunk was read")).overwrite(false);
        let error = sink(unread, format, &path).expect_err("it exists").to_string();
        assert!(
            error.ends_with("it exists, and may not be overwritten: remove it, or write to another file"),
            "{error}"
        );
        assert_eq!(fs::read(&path).expect("it is there"), before);
        // A file that another program makes meanwhile.
        let meanwhile = folder.path().join("meanwhile");
        let make = |chunk: DataFrame| {
            fs::write(&meanwhile, "of another program")?;
            Ok(chunk)
        };
        let error = sink(frame(10).lazy().par_rows(4).map(make).overwrite(false), format, &meanwhile);
        assert!(error.expect_err("it exists").to_string().contains("may not be overwritten"));
        assert_eq!(fs::read_to_string(&meanwhile).expect("it is there"), "of another program");
        assert_eq!(names(folder.path()), ["meanwhile", "out"]);
        sink(lazy().overwrite(true), format, &path).expect("it is replaced");
    }
}

#[test]
fn a_cloud_address_as_an_output_is_an_error_that_says_so() {
    for format in FORMATS {
        let error = sink(frame(1).lazy().par_rows(4).map(Ok), format, Path::new("s3://bucket/x.parquet"));
        let error = error.expect_err("it is an address").to_string();
        assert!(error.starts_with("cannot write `s3://bucket/x.parquet`: only local files can be written"), "{error}");
    }
}

/// The same scan as a query of Polars.
fn query(format: &str, path: &Path) -> LazyFrame {
    let path = PlRefPath::new(path.to_str().expect("UTF-8"));
    let scanned = match format {
        "parquet" => LazyFrame::scan_parquet(path, ScanArgsParquet::default()),
        "csv" => LazyCsvReader::new(path).finish(),
        _ => LazyFrame::scan_ipc(path, IpcScanOptions::default(), UnifiedScanArgs::default()),
    };
    scanned.expect("a path").filter(col("x").gt_eq(lit(0)))
}

fn write(format: &str, rows: i32, path: &Path) {
    sink(frame(rows).lazy().par_rows(1_000).map(Ok), format, path).expect("it can be written");
}

fn rows(format: &str, path: &Path) -> usize {
    scan(format, path).map_reduce(|chunk| Ok(chunk.height()), |a, b| a + b).expect("it can be read")
}

/// Starts the test of this name in a process of its own, with this value of [`CHILD`].
fn child(test: &str, value: &Path) -> Child {
    Command::new(std::env::current_exe().expect("this program has a path"))
        .args([&format!("sink_files::{test}"), "--exact", "--nocapture"])
        .env(CHILD, value)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("this program starts again")
}

#[track_caller]
fn assert_passes(child: Child) {
    let output = child.wait_with_output().expect("it was started");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn child_value() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

#[track_caller]
fn until(mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < TIME_LIMIT, "it does not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn an_output_that_matches_the_input_pattern_is_an_error_once_it_exists() {
    for format in FORMATS {
        for pattern in ["*", &format!("*.{format}"), "../*/*", "**/*", "."] {
            let folder = folder();
            let dir = folder.path().join("in");
            fs::create_dir(&dir).expect("new");
            write(format, 10, &dir.join(format!("a.{format}")));
            let (out, input) = (dir.join(format!("out.{format}")), dir.join(pattern));
            sink(scan(format, &input).map(Ok), format, &out).expect("it is not there yet");
            assert_eq!(rows(format, &out), 10, "{format} {pattern}");
            for again in [scan(format, &input), query(format, &input).par_rows(1_000)] {
                let error = sink(again.map(Ok), format, &out).expect_err("it is an input");
                assert!(matches!(error, ScanError::Write { .. }), "{error:?}");
                let text = error.to_string();
                assert!(
                    text.contains("is one of the files that") && text.contains("write to another folder"),
                    "{text}"
                );
            }
            assert_eq!(rows(format, &out), 10, "what was there is there still");
            // Files in another folder are not inputs.
            let elsewhere = folder.path().join("out");
            sink(scan(format, &input).map(Ok), format, &elsewhere).expect("it is no input");
            sink(query(format, &input).par().map(Ok), format, &elsewhere).expect("it is no input");
            assert_eq!(rows(format, &elsewhere), 20, "{format} {pattern}");
        }
    }
}

#[cfg(unix)]
#[test]
fn an_output_that_links_to_an_input_is_an_error() {
    let folder = folder();
    let dir = folder.path().join("in");
    fs::create_dir(&dir).expect("new");
    let a = dir.join("a.parquet");
    write("parquet", 10, &a);
    let (soft, hard, outside) =
        (folder.path().join("soft"), folder.path().join("hard"), folder.path().join("outside.parquet"));
    std::os::unix::fs::symlink(&a, &soft).expect("new");
    fs::hard_link(&a, &hard).expect("new");
    write("parquet", 10, &outside);
    std::os::unix::fs::symlink(&outside, dir.join("link.parquet")).expect("new");
    // A folder that contains a link to itself.
    std::os::unix::fs::symlink(&dir, dir.join("loop")).expect("new");
    let deep = dir.join("..").join("in").join("a.parquet");
    for out in [&soft, &hard, &outside, &deep] {
        for pattern in [dir.join("*.parquet"), folder.path().join("i?").join("*.parquet")] {
            for again in [scan_parquet(&pattern), query("parquet", &pattern).par()] {
                let error = again.map(Ok).sink_parquet(out).expect_err("it is an input");
                assert!(error.to_string().contains("is one of the files that"), "{}: {error}", out.display());
            }
        }
    }
}

#[cfg(unix)]
#[test]
fn a_link_to_a_missing_file_stays_a_link() {
    use std::os::unix::fs::symlink;
    for format in FORMATS {
        let folder = folder();
        let (first, second, there) =
            (folder.path().join("first"), folder.path().join("second"), folder.path().join("in"));
        fs::create_dir(&there).expect("new");
        symlink("second", &first).expect("new");
        symlink("in/new", &second).expect("new");
        for times in [10, 20] {
            sink(frame(times).lazy().par_rows(4).map(Ok), format, &first).expect("it can be written");
            assert!([&first, &second].iter().all(|link| link.is_symlink()), "{format}");
            assert_eq!(rows(format, &there.join("new")), usize::try_from(times).expect("small"));
            assert_eq!(names(&there), ["new"]);
        }
        let round = folder.path().join("round");
        symlink(&round, &round).expect("new");
        sink(frame(10).lazy().par().map(Ok), format, &round).expect_err("it leads nowhere");
        assert!(round.is_symlink(), "{format}");
    }
}

#[test]
fn a_file_scanned_by_its_own_path_can_be_replaced() {
    for format in FORMATS {
        let folder = folder();
        let path = folder.path().join(format!("[a].{format}"));
        write(format, 10, &path);
        let half = |chunk: DataFrame| Ok(chunk.head(Some(chunk.height() / 2)));
        sink(scan(format, &path).par_rows(2).map(half), format, &path).expect("it is named");
        assert_eq!(rows(format, &path), 5);
        let plain = folder.path().join("a");
        fs::rename(&path, &plain).expect("it is there");
        sink(query(format, &plain).par_rows(10).map(half), format, &plain).expect("it is named");
        assert_eq!(rows(format, &plain), 2);
        assert_eq!(names(folder.path()), ["a"]);
    }
}

#[test]
fn files_being_written_are_not_read() {
    for format in FORMATS {
        let folder = folder();
        write(format, 10, &folder.path().join(format!("a.{format}")));
        // The file of a writer that is alive: this process.
        let temporary = folder.path().join(".fanfold-abcdef.tmp");
        fs::write(&temporary, "half a file").expect("new");
        let writer = File::open(&temporary).expect("it is there");
        writer.try_lock().expect("no other process holds the lock");
        for pattern in [folder.path().join("*"), folder.path().to_owned()] {
            for scan in [scan(format, &pattern), query(format, &pattern).par()] {
                let out = folder.path().join("out");
                sink(scan.map(Ok), format, &out).unwrap_or_else(|error| panic!("{format} {pattern:?}: {error}"));
                assert_eq!(rows(format, &out), 10);
                fs::remove_file(out).expect("it is there");
            }
        }
        drop(writer);
    }
}

#[test]
fn files_of_killed_sinks_are_removed_and_those_of_running_sinks_kept() {
    if let Some(folder) = child_value() {
        let wait = |chunk: DataFrame| {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line)?;
            Ok(chunk)
        };
        return frame(10)
            .lazy()
            .par_rows(10)
            .map(wait)
            .sink_parquet(folder.join("child"))
            .expect("the chunk is written");
    }
    let folder = folder();
    let name = "files_of_killed_sinks_are_removed_and_those_of_running_sinks_kept";
    let (mut killed, mut running) = (child(name, folder.path()), child(name, folder.path()));
    let leftovers = || names(folder.path()).into_iter().filter(|name| name.starts_with(".fanfold-")).count();
    // Until a child has locked its file, another child may remove it as a leftover; the first one then makes a new
    // file.
    let is_locked = |name: &String| {
        name.starts_with(".fanfold-") && File::open(folder.path().join(name)).is_ok_and(|file| file.try_lock().is_err())
    };
    until(|| names(folder.path()).iter().filter(|name| is_locked(name)).count() == 2);
    killed.kill().expect("it lives");
    killed.wait().expect("it was killed");
    assert_eq!(leftovers(), 2);
    for format in FORMATS {
        write(format, 10, &folder.path().join("mine"));
        assert_eq!(leftovers(), 1);
    }
    drop(running.stdin.take());
    assert_passes(running);
    assert_eq!(names(folder.path()), ["child", "mine"]);
    assert_eq!(rows("parquet", &folder.path().join("child")), 10);
}

#[test]
fn only_regular_files_are_removed_as_leftovers() {
    let folder = folder();
    fs::create_dir(folder.path().join(".fanfold-folder.tmp")).expect("new");
    fs::write(folder.path().join(".fanfold-other"), "").expect("new");
    fs::write(folder.path().join("mine.tmp"), "").expect("new");
    fs::write(folder.path().join(".fanfold-dead.tmp"), "").expect("new");
    #[cfg(unix)]
    std::os::unix::fs::symlink("mine.tmp", folder.path().join(".fanfold-link.tmp")).expect("new");
    write("csv", 10, &folder.path().join("out"));
    let expected = [".fanfold-folder.tmp", ".fanfold-link.tmp", ".fanfold-other", "mine.tmp", "out"];
    let expected = expected.into_iter().filter(|name| cfg!(unix) || !name.contains("link"));
    assert_eq!(names(folder.path()), expected.collect::<Vec<_>>());
}

#[test]
fn many_sinks_into_one_folder_do_not_interfere() {
    let folder = folder();
    std::thread::scope(|threads| {
        for thread in 0..8 {
            let folder = folder.path();
            threads.spawn(move || {
                for n in 0..25 {
                    let path = folder.join(format!("{thread}-{n}"));
                    frame(10).lazy().par_rows(4).map(Ok).sync(false).sink_csv(&path).expect("it can be written");
                    assert_eq!(fs::read_to_string(&path).expect("it is there").lines().count(), 11);
                }
            });
        }
    });
    assert_eq!(names(folder.path()).len(), 200);
}

/// Makes `fsync` fail on this thread and all that it starts.
#[cfg(target_os = "linux")]
fn deny_sync() {
    let op = |code: u32, jt, jf, k| libc::sock_filter { code: u16::try_from(code).expect("16 bits"), jt, jf, k };
    let sync = u32::try_from(libc::SYS_fsync).expect("a small number");
    let refused = libc::SECCOMP_RET_ERRNO | u32::try_from(libc::EIO).expect("a small number");
    let mut filter = [
        op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, sync),
        op(libc::BPF_RET | libc::BPF_K, 0, 0, refused),
        op(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: 4, filter: filter.as_mut_ptr() };
    // SAFETY: the program points to the filter, which is alive, and has its length.
    let set = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
    };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

#[cfg(target_os = "linux")]
#[test]
fn files_are_synced_before_they_are_renamed_unless_sync_is_off() {
    if let Some(folder) = child_value() {
        deny_sync();
        for format in FORMATS {
            let path = folder.join(format!("a.{format}"));
            fs::write(&path, "before").expect("it can be written");
            let scan = || frame(10).lazy().par_rows(4).map(Ok);
            let error = sink(scan(), format, &path).expect_err("it cannot be synced");
            assert!(error.to_string().contains("Input/output error"), "{error}");
            assert_eq!(fs::read(&path).expect("it is there"), b"before");
            sink(scan().sync(false), format, &path).expect("it need not be synced");
            assert_eq!(rows(format, &path), 10);
        }
        assert_eq!(names(&folder), ["a.csv", "a.ipc", "a.parquet"]);
        return;
    }
    let folder = folder();
    let name = "files_are_synced_before_they_are_renamed_unless_sync_is_off";
    assert_passes(child(name, folder.path()));
}

#[test]
fn the_height_without_columns_is_kept_or_an_error() {
    let folder = folder();
    let empty = |rows| DataFrame::empty_with_height(rows).lazy();
    for (height, chunk) in [(3, 2), (0, 2), (100_000, 40_000), (100_000, 400)] {
        for format in ["parquet", "ipc"] {
            let path = folder.path().join(format);
            sink(empty(height).par_rows(chunk).map(Ok), format, &path).expect("it keeps their number");
            assert_eq!(query_all(format, &path).shape(), (height, 0), "{format}: {height} by {chunk}");
        }
    }
    let path = folder.path().join("csv");
    let error = empty(3).par_rows(2).map(Ok).sink_csv(&path).expect_err("there is nothing to count");
    assert!(error.to_string().contains("rows without any column"), "{error}");
    assert_eq!(names(folder.path()), ["ipc", "parquet"]);
}

fn query_all(format: &str, path: &Path) -> DataFrame {
    let path = PlRefPath::new(path.to_str().expect("UTF-8"));
    let scanned = match format {
        "parquet" => LazyFrame::scan_parquet(path, ScanArgsParquet::default()),
        _ => LazyFrame::scan_ipc(path, IpcScanOptions::default(), UnifiedScanArgs::default()),
    };
    scanned.and_then(LazyFrame::collect).expect("it can be read")
}

#[test]
fn a_failed_write_leaves_no_file_in_any_format() {
    let lazy = || frame(100_000).lazy();
    let is_late_chunk = |chunk: &DataFrame| {
        chunk.column("x").is_ok_and(|x| x.get(0).is_ok_and(|first| first == AnyValue::Int64(60_000)))
    };
    for format in FORMATS {
        for (before, rows) in [(false, 1_000), (true, 1_000), (false, 60_000), (true, 60_000)] {
            let folder = folder();
            let path = folder.path().join("out");
            if before {
                fs::write(&path, "before").expect("new");
            }
            let expected = if before { vec!["out"] } else { vec![] };
            let fails = |chunk: DataFrame| {
                polars_ensure!(!is_late_chunk(&chunk), ComputeError: "no more");
                Ok(chunk)
            };
            let panics = |chunk: DataFrame| {
                assert!(!is_late_chunk(&chunk), "no more");
                Ok(chunk)
            };
            let renames = |chunk: DataFrame| {
                Ok(if is_late_chunk(&chunk) { chunk.lazy().with_row_index("n", None).collect()? } else { chunk })
            };
            let retypes = |chunk: DataFrame| {
                Ok(if is_late_chunk(&chunk) {
                    chunk.lazy().select([col("x").cast(DataType::String)]).collect()?
                } else {
                    chunk
                })
            };
            let read_fails = lazy().map(
                |df| if df.height() > 0 { polars_bail!(ComputeError: "no more") } else { Ok(df) },
                AllowedOptimizations::default(),
                None,
                None,
            );
            let other = Schema::from_iter([Field::new("y".into(), DataType::Int64)]);
            let all = [
                sink(lazy().par_rows(rows).map(fails), format, &path),
                sink(lazy().par_rows(rows).map(panics), format, &path),
                sink(lazy().par_rows(rows).map(renames), format, &path),
                sink(lazy().par_rows(rows).map(retypes), format, &path),
                sink(lazy().par_rows(rows).schema(other).map(Ok), format, &path),
                sink(read_fails.par_rows(rows).map(Ok), format, &path),
                sink(scan_csv(folder.path().join("none")).map(Ok), format, &path),
                sink(lazy().par_rows(0).map(Ok), format, &path),
            ];
            for (case, result) in all.into_iter().enumerate() {
                assert!(result.is_err(), "{format}: case {case}");
            }
            assert_eq!(names(folder.path()), expected, "{format}");
            assert!(!before || fs::read(&path).expect("it is there") == b"before");
        }
    }
}

/// Makes this process run as an unprivileged user id of its own, which then owns this folder.
#[cfg(unix)]
fn become_unprivileged(folder: &Path) {
    let user = 200_000 + std::process::id();
    // SAFETY: `geteuid` and `setuid` take only numbers.
    unsafe {
        if libc::geteuid() == 0 {
            std::os::unix::fs::chown(folder, Some(user), Some(user)).expect("root may");
            assert!(libc::setgid(user) == 0 && libc::setuid(user) == 0);
        }
    }
}

/// Writes with Polars only.
#[cfg(unix)]
fn by_polars(format: &str, path: &Path) -> PolarsResult<()> {
    let target = SinkTarget::Path(PlRefPath::new(path.to_str().expect("UTF-8")));
    let target = SinkDestination::File { target };
    let format = match format {
        "parquet" => FileWriteFormat::Parquet(Arc::default()),
        "csv" => FileWriteFormat::Csv(CsvWriterOptions::default()),
        _ => FileWriteFormat::Ipc(IpcWriterOptions::default()),
    };
    let sink = frame(10).lazy().sink(target, format, UnifiedSinkArgs::default())?;
    sink.collect_with_engine(Engine::Streaming).map(drop)
}

#[cfg(unix)]
#[test]
fn a_read_only_file_or_folder_is_an_error_and_left_unchanged() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    let Some(folder) = child_value() else {
        let folder = folder();
        return assert_passes(child("a_read_only_file_or_folder_is_an_error_and_left_unchanged", folder.path()));
    };
    become_unprivileged(&folder);
    for format in FORMATS {
        let (file, link) = (folder.join(format), folder.join(format!("{format}-link")));
        write(format, 3, &file);
        symlink(&file, &link).expect("new");
        let scan = || frame(10).lazy().par_rows(4);
        let bytes = fs::read(&file).expect("it is there");
        let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("this user owns it");
        mode(0o444);
        by_polars(format, &file).expect_err("Polars may not write it either");
        for path in [&file, &link] {
            let never = scan().map(|_| -> PolarsResult<DataFrame> { panic!("nothing is to be mapped") });
            let error = sink(never, format, path).expect_err("it is read-only").to_string();
            let message = format!("cannot write `{}`: the file that is there may not be written to (", path.display());
            assert!(error.starts_with(&message) && error.contains("Permission denied"), "{error}");
            assert!(error.ends_with("make it writable, remove it, or write to another file"), "{error}");
        }
        assert_eq!(fs::read(&file).expect("it is there"), bytes);
        mode(0o640);
        sink(scan().map(Ok), format, &link).expect("it may be written");
        assert_eq!((rows(format, &file), link.is_symlink()), (10, true));
        assert_eq!(fs::metadata(&file).expect("it is there").mode() & 0o777, 0o640);

        let closed = folder.join(format!("{format}-closed"));
        fs::create_dir(&closed).expect("new");
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).expect("this user owns it");
        let error = sink(scan().map(Ok), format, &closed.join("new")).expect_err("nothing can be made there");
        let message = format!("no file can be made in its folder `{}`", closed.display());
        assert!(error.to_string().contains(&message), "{error}");
    }
    assert!(names(&folder).iter().all(|name| !name.starts_with(".fanfold")));
}

#[cfg(unix)]
#[test]
fn a_replaced_file_keeps_its_owner() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    let folder = folder();
    for format in FORMATS {
        let file = folder.path().join(format);
        write(format, 3, &file);
        let (user, group) = (200_000 + std::process::id(), 300_000 + std::process::id());
        // Only root may change a file's owner.
        if chown(&file, Some(user), Some(group)).is_err() {
            return;
        }
        fs::set_permissions(&file, fs::Permissions::from_mode(0o660)).expect("root may");
        sink(frame(10).lazy().par().map(Ok), format, &file).expect("root may");
        let found = fs::metadata(&file).expect("it is there");
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o777), (user, group, 0o660));
    }
}
