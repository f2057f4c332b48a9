//! Shared memory that an idle pool does not need is given back.
#![cfg(target_os = "linux")]

use std::fs;
use std::process;
use std::time::{Duration, Instant};

use fanfold::{Bytes, Pool, parallel};

fanfold::process_tests!();

/// Bytes of shared memory that a process maps.
fn mapped(pid: u32) -> usize {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("it can be read");
    let ranges = maps
        .lines()
        .filter(|line| ["memfd:fanfold", "/fanfold-shm-"].iter().any(|name| line.contains(name)))
        .filter_map(|line| line.split(' ').next());
    let hex = |text| usize::from_str_radix(text, 16).expect("an address");
    ranges.filter_map(|range| range.split_once('-')).map(|(start, end)| hex(end) - hex(start)).sum()
}

static IDLE: Pool = Pool::process("idle").threads(1);

#[parallel(kind = "process", pool = IDLE)]
fn echo_with_pid(bytes: Bytes) -> (u32, Bytes) {
    (process::id(), bytes)
}

#[parallel(kind = "process", pool = IDLE)]
fn echo(bytes: Bytes) -> Bytes {
    bytes
}

#[test]
fn a_pool_that_is_idle_gives_its_shared_memory_back() {
    const LARGE: usize = 16 << 20;
    let (worker, _) = echo_with_pid(Bytes::from(vec![1; 10]));
    for _ in 0..3 {
        assert_eq!(echo(Bytes::from(vec![7; LARGE])).len(), LARGE);
    }
    // One segment in each direction is kept for the next call.
    let both = mapped(worker);
    assert!((2 * LARGE..2 * LARGE + (8 << 20)).contains(&both), "{both}");
    let deadline = Instant::now() + Duration::from_secs(60);
    while mapped(worker) > 8 << 20 || mapped(process::id()) > 8 << 20 {
        assert!(Instant::now() < deadline, "{} {}", mapped(worker), mapped(process::id()));
        // The memory is given back after ten seconds; polling pauses in between.
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(echo(Bytes::from(vec![7; LARGE])).len(), LARGE);
}
