//! State that threads share, in containers of which each process would have a copy.
#![allow(unused_variables)]

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use fanfold::{Sender, parallel, shared};

type Count = Arc<Mutex<u64>>;

#[parallel(kind = "process")]
fn lists(several: Vec<Count>, perhaps: Option<Count>, boxed: Box<Count>, array: [Count; 2]) {}

#[parallel(kind = "process")]
fn tuples(first: (Count, u8), last: (u8, String, Arc<AtomicU64>), deep: Vec<(u32, Option<Count>)>) {}

#[parallel(kind = "process")]
fn others(result: Option<Result<u8, Count>>, map: HashMap<u32, Count>, sender: Sender<Count>, lock: shared::Mutex<Count>) {}

#[parallel(kind = "process")]
fn returns(n: u32) -> Result<(u32, Count), String> {
    Ok((n, Count::default()))
}

#[parallel(kind = "process")]
fn both(counts: (Count, Count)) {}

fn main() {}
