//! A channel of the standard library: the error names `fanfold::channel()`.
use std::sync::mpsc::Sender;

#[fanfold::parallel(kind = "process")]
fn measure(text: String, lengths: Sender<usize>) {
    lengths.send(text.len()).ok();
}

fn main() {}
