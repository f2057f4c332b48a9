//! A worker of a test program starts where `main` would: every constructor has run once, and the process is in the
//! state that Rust's runtime sets up.
#![cfg(target_os = "linux")]

use std::io::{Read, Write, pipe};
use std::sync::atomic::{AtomicU32, Ordering};

use fanfold::{Pool, parallel};

/// Counts the calls of each constructor.
static CALLS: [AtomicU32; 4] = [const { AtomicU32::new(0) }; 4];
/// How many constructors were called with the program's arguments.
static ARGUMENTS: AtomicU32 = AtomicU32::new(0);

macro_rules! constructor {
    ($name:ident, $number:expr, $section:literal) => {
        #[used]
        #[unsafe(link_section = $section)]
        static $name: extern "C" fn(i32, *const *const u8) = {
            extern "C" fn construct(argc: i32, argv: *const *const u8) {
                CALLS[$number].fetch_add(1, Ordering::Relaxed);
                // SAFETY: the loader passes the program's arguments to every constructor, so `argv` has `argc` entries.
                if argc > 0 && unsafe { !(*argv).is_null() } {
                    ARGUMENTS.fetch_add(1, Ordering::Relaxed);
                }
            }
            construct
        };
    };
}

constructor!(FIRST, 0, ".init_array");
mod tests_of_a_module {
    fanfold::process_tests!();
}
constructor!(SECOND, 1, ".init_array");
fanfold::process_tests!();
constructor!(THIRD, 2, ".init_array");
constructor!(EARLY, 3, ".init_array.00200");

static WORKERS: Pool = Pool::process("workers").threads(1);

fn counted() -> ([u32; 4], u32) {
    (CALLS.each_ref().map(|calls| calls.load(Ordering::Relaxed)), ARGUMENTS.load(Ordering::Relaxed))
}

#[parallel(kind = "process", pool = WORKERS)]
fn counted_in_a_worker() -> ([u32; 4], u32) {
    counted()
}

#[test]
fn every_constructor_has_run_once() {
    assert_eq!(counted(), ([1; 4], 4));
    assert_eq!(counted_in_a_worker(), ([1; 4], 4));
}

#[parallel(kind = "process", pool = WORKERS)]
fn write_to_a_closed_pipe() -> Option<i32> {
    let (reader, mut writer) = pipe().expect("there are pipes");
    drop(reader);
    writer.write_all(b"the reader is closed").expect_err("the other end is closed").raw_os_error()
}

#[test]
fn a_closed_pipe_is_an_error() {
    assert_eq!(write_to_a_closed_pipe(), Some(libc::EPIPE));
}

#[parallel(kind = "process", pool = WORKERS)]
fn streams() -> (usize, bool) {
    let read = std::io::stdin().read(&mut [0; 8]).expect("it is open");
    // SAFETY: `F_GETFD` takes only numbers; it fails on a closed descriptor.
    (read, unsafe { (0..3).all(|stream| libc::fcntl(stream, libc::F_GETFD) >= 0) })
}

#[test]
fn standard_streams_are_open_and_nothing_is_read() {
    assert_eq!(streams(), (0, true));
}
