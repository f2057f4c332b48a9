//! Ends of channels whose values are no serde types: they cross to no process, and work between threads.
use fanfold::{Receiver, Sender, parallel};

struct Plain(u32);

#[parallel(kind = "io")]
fn between_threads(plain: Sender<Plain>) {
    plain.send(Plain(1)).ok();
}

#[parallel(kind = "process")]
fn sends(plain: Sender<Plain>) {
    plain.send(Plain(1)).ok();
}

#[parallel(kind = "process")]
fn receives(plain: Vec<Receiver<Plain>>) -> Option<Receiver<Box<dyn FnOnce() + Send>>> {
    plain.iter().for_each(|plain| drop(plain.recv().map(|plain| plain.0)));
    None
}

fn main() {}
