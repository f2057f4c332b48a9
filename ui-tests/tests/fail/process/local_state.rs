//! State that threads share, of which each process would have a copy of its own.
use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, RwLock};

use fanfold::parallel;

#[parallel(kind = "process")]
fn count(times: u64, counted: Arc<Mutex<u64>>) {
    *counted.lock().unwrap() += times;
}

#[parallel(kind = "process")]
fn add(sum: Arc<AtomicU64>, names: Arc<RwLock<Vec<String>>>) -> usize {
    names.read().unwrap().len() + Arc::strong_count(&sum)
}

#[parallel(kind = "process")]
fn make(n: u32) -> Result<Rc<Cell<u32>>, String> {
    Ok(Rc::new(Cell::new(n)))
}

fn main() {}
