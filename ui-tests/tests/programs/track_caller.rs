//! With `#[track_caller]` Fanfold's own panics name the caller's line.
use std::panic::{self, Location};
use std::sync::Mutex;

use fanfold::parallel;

#[parallel(kind = "cpu", chunks = 2)]
#[track_caller]
fn pairs(#[chunk] left: &[u32], #[chunk] right: &[u32]) -> Vec<u32> {
    left.iter().zip(right).map(|(one, other)| one + other).collect()
}

static LINE: Mutex<u32> = Mutex::new(0);

fn main() {
    panic::set_hook(Box::new(|what| *LINE.lock().unwrap() = what.location().map_or(0, Location::line)));
    let line = panic::catch_unwind(|| {
        pairs(&[1, 2], &[1]);
    })
    .map_err(|_| line!() - 2);
    assert_eq!(line, Err(*LINE.lock().unwrap()));
}
