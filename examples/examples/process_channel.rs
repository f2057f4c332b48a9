//! A producer and two consumers in processes of their own, connected by a channel.
//!
//! `cargo run --release -p fanfold-examples --example process_channel`

use fanfold::{Receiver, Sender, TaskError, parallel};

const LINES: [&str; 4] = ["to be or not", "to be", "that is", "the question"];

#[parallel(kind = "process")]
fn produce(words: Sender<String>) {
    for word in LINES.iter().flat_map(|line| line.split(' ')) {
        words.send(word.to_owned()).expect("a consumer receives");
    }
} // dropping the last sender closes the channel

#[parallel(kind = "process")]
fn count_letters(words: Receiver<String>) -> usize {
    words.iter().map(|word| word.len()).sum()
}

#[fanfold::main]
fn main() -> Result<(), TaskError> {
    let (sender, receiver) = fanfold::channel();
    // The producer is submitted first: with a single worker, it fills the channel before a consumer runs.
    let producer = produce::submit(sender);
    // Two consumers: each word goes to one of them.
    let consumers = [count_letters::submit(receiver.clone()), count_letters::submit(receiver)];
    let letters: usize = fanfold::join_all(consumers)?.into_iter().sum();
    producer.join()?;
    println!("{letters} letters");
    Ok(())
}
