//! Progress bars on a terminal: the test reads the other end of a pseudo-terminal.
#![cfg(target_os = "linux")]

use std::env;
use std::fs::File;
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::Command;
use std::ptr;

use fanfold::prelude::*;
use fanfold::{Pool, parallel};
use polars::prelude::*;

const IN_CHILD: &str = "FANFOLD_TEST_ON_A_TERMINAL";

#[parallel(kind = "cpu", chunks = 4, progress = "of a function")]
fn doubled(numbers: Vec<u64>) -> Vec<u64> {
    numbers.into_iter().map(|n| n * 2).collect()
}

/// Runs work with one bar each.
fn run_with_progress() {
    let square = |n| {
        if n == 600 {
            fanfold::progress::println("half way");
        }
        n * n
    };
    let squares: Vec<u64> = Pool::cpu_default().map(0..1_200_u64, square).progress("of a map").collect();
    assert_eq!(squares.len(), 1_200);
    let sum: u64 = Pool::cpu_default().map(0..2_300_u64, |n| n).progress("of a sum").sum();
    assert_eq!(sum, 2_300 * 2_299 / 2);
    assert_eq!(doubled((0..8).collect()).len(), 8);
    let frame = df!("n" => (0..3_400_i64).collect::<Vec<_>>()).expect("one column");
    let same = frame.par_chunks(4).progress("of chunks").map(Ok).expect("as it was");
    assert_eq!(same.height(), 3_400);
    let rows = frame.lazy().par_rows(1_000).progress("of a scan").map(Ok).collect().expect("as it was");
    assert_eq!(rows.height(), 3_400);
}

/// Both ends of a new pseudo-terminal.
fn terminal() -> (File, OwnedFd) {
    let (mut ours, mut theirs) = (-1, -1);
    let size = libc::winsize { ws_row: 24, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the pointers to both descriptors are valid for writes, and `size` for the read.
    let opened =
        unsafe { libc::openpty(&raw mut ours, &raw mut theirs, ptr::null_mut(), ptr::null(), &raw const size) };
    assert_eq!(opened, 0, "the system has terminals");
    // SAFETY: both descriptors are new, so this function owns them.
    unsafe { (File::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) }
}

#[test]
fn a_terminal_shows_the_progress_of_each_kind_of_work() {
    if env::var_os(IN_CHILD).is_some() {
        return run_with_progress();
    }
    let (mut ours, theirs) = terminal();
    let mut child = Command::new(env::current_exe().expect("this program"));
    child.args(["--exact", "a_terminal_shows_the_progress_of_each_kind_of_work", "--nocapture"]);
    child.env(IN_CHILD, "1").env("TERM", "xterm").stdout(theirs.try_clone().expect("a descriptor")).stderr(theirs);
    let mut running = child.spawn().expect("it starts");
    // The command holds the other end of the terminal, and the read below ends when the last copy of it is closed.
    drop(child);
    let mut shown = Vec::new();
    // Linux reports a closed terminal as an error.
    let _ = ours.read_to_end(&mut shown);
    assert!(running.wait().expect("it ends").success());
    let shown = String::from_utf8_lossy(&shown);
    // The line begins where a bar was cleared, and the bar is drawn again below it.
    let (_, after) = shown.split_once("half way\r\n").expect("a line of its own");
    assert!(after.contains("of a map"), "{shown}");
    for (label, count) in [
        ("of a map", "1,200/1,200"),
        ("of a sum", "2,300/2,300"),
        ("of a function", "8/8"),
        ("of chunks", "3,400/3,400"),
        ("of a scan", "3,400"),
    ] {
        let mut lines = shown.split(['\r', '\n']).filter(|line| line.contains(label));
        assert!(lines.any(|line| line.contains(count) && line.contains("/s")), "{label}: {shown}");
    }
}
