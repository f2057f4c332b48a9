//! A disk that is full before the results are written. It is the only test of its process, which limits its file size.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;

use fanfold::ScanError;
use fanfold::prelude::*;
use polars::prelude::*;

/// Limits the files that this process writes to `bytes`; a longer write fails with an error instead of a signal.
fn limit_files(bytes: libc::rlim_t) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: `limit` is valid for the read, and `SIG_IGN` installs no handler.
    let set = unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit)
    };
    assert_eq!(set, 0, "the limit can be set");
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("it is there");
    entries.map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8")).collect()
}

#[test]
fn a_full_disk_keeps_the_old_file_and_leaves_no_other() {
    let folder = tempfile::tempdir().expect("a folder is created");
    // Pseudo-random numbers, which do not compress.
    let noise: Vec<i64> = (0..400_000_i64).map(|n| n.wrapping_mul(6_364_136_223_846_793_005)).collect();
    let frame = df!("n" => noise).expect("one column");
    limit_files(1 << 20);
    for rows in [1_000, 40_000, 400_000] {
        for name in ["out.parquet", "out.csv", "out.ipc"] {
            let out = folder.path().join(name);
            fs::write(&out, "what was there").expect("it is short");
            let scan = frame.clone().lazy().par_rows(rows).map(Ok);
            let error = match name {
                "out.parquet" => scan.sink_parquet(&out),
                "out.csv" => scan.sink_csv(&out),
                _ => scan.sink_ipc(&out),
            };
            let error = error.expect_err("the files are larger");
            assert!(matches!(error, ScanError::Write { .. }), "{error:?}");
            let text = error.to_string();
            let begin = format!("cannot write `{}`: File too large", out.display());
            assert!(text.starts_with(&begin), "{text}");
            assert_eq!(fs::read(&out).expect("it is there"), b"what was there");
            assert_eq!(names(folder.path()), [name]);
            fs::remove_file(&out).expect("it is there");
        }
    }
}
