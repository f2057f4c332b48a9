//! 200 requests at once: blocking calls, each on a thread of the io pool.
//!
//! The server is part of the program; it waits 50 ms before each answer.
//!
//! `cargo run -p fanfold-examples --example requests`

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fanfold::{Pool, parallel};
use fanfold_examples::http::{self, Server};

const REQUESTS: u32 = 200;
const LATENCY: Duration = Duration::from_millis(50);

#[parallel(kind = "io")]
fn fetch(server: SocketAddr, page: u32) -> io::Result<usize> {
    Ok(http::get(server, &format!("/page/{page}"))?.len())
}

fn main() -> io::Result<()> {
    let server = Server::start(LATENCY)?;
    let pages = (0..REQUESTS).map(|page| (server.address(), page)); // two arguments are a pair

    let start = Instant::now();
    let sizes = fetch::map(pages).collect::<Result<Vec<usize>, _>>()?; // or the first error
    let took = start.elapsed();

    println!("requests       {:>9}", sizes.len());
    println!("bytes          {:>9}", sizes.iter().sum::<usize>());
    println!("most at once   {:>9}", server.most_at_once());
    println!("threads        {:>9}", Pool::io_default().stats().threads);
    println!("one by one     {:>9.1?} at least", LATENCY * REQUESTS);
    println!("at once        {took:>9.1?}");
    Ok(())
}
