//! A pipeline of three stages, connected by channels: a slow stage holds the earlier ones back, and memory stays small.
//!
//! `cargo run --release -p fanfold-examples --example pipeline`

use fanfold::{ChannelError, Pool, Receiver, Sender, TaskError, channel_bounded, parallel};

/// Each stage waits for the others, so it is `io`: a thread that waits is no loss to the threads that compute.
#[parallel(kind = "io")]
fn read(count: u64, lines: Sender<String>) -> Result<(), ChannelError> {
    for n in 0..count {
        lines.send(format!("order {n}: {}", n * n % 97))?; // waits while the channel is full
    }
    Ok(())
} // dropping the last sender ends the next stage's loop

#[parallel(kind = "io")]
fn parse(lines: Receiver<String>, amounts: Sender<u64>) -> Result<(), ChannelError> {
    for line in lines {
        let amount = line.rsplit(' ').next().and_then(|amount| amount.parse().ok());
        amounts.send(amount.unwrap_or(0))?;
    }
    Ok(())
}

#[parallel(kind = "io")]
fn add(amounts: Receiver<u64>) -> (u64, u64) {
    amounts.into_iter().fold((0, 0), |(count, sum), amount| (count + 1, sum + amount))
}

fn main() -> Result<(), TaskError> {
    // At most 16 lines and 16 amounts are in memory, however many there are in all.
    let (lines_in, lines_out) = channel_bounded(16);
    let (amounts_in, amounts_out) = channel_bounded(16);
    let reader = read::submit(100_000, lines_in);
    // Two parsers share both channels: each line goes to one of them.
    let parsers = [(); 2].map(|()| parse::submit(lines_out.clone(), amounts_in.clone()));
    // The ends that this thread keeps would keep the channels open.
    drop((lines_out, amounts_in));
    let (count, sum) = add::submit(amounts_out).join()?;
    for stage in parsers.into_iter().chain([reader]) {
        stage.join()?.expect("no stage ended early");
    }
    println!("{count} orders, {sum} in all");
    println!("threads of the io pool: {}", Pool::io_default().stats().threads);
    Ok(())
}
