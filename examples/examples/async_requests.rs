//! 200 requests by an `async fn`: 50 at once, all on the calling thread.
//!
//! The server is part of the program; it waits 50 ms before each answer.
//!
//! `cargo run -p fanfold-examples --example async_requests`

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fanfold::parallel;
use fanfold_examples::http::{self, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const REQUESTS: u32 = 200;
const AT_ONCE: usize = 50;
const LATENCY: Duration = Duration::from_millis(50);

#[parallel(kind = "io")]
async fn fetch(server: SocketAddr, page: u32) -> io::Result<usize> {
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(http::request(&format!("/page/{page}")).as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(http::body(&answer)?.len())
}

fn main() -> io::Result<()> {
    let server = Server::start(LATENCY)?;
    let pages = (0..REQUESTS).map(|page| (server.address(), page)); // two arguments are a pair

    let start = Instant::now();
    let sizes = fetch::map(pages).buffer(AT_ONCE).collect::<Result<Vec<usize>, _>>()?; // or the first error
    let took = start.elapsed();

    println!("requests       {:>9}", sizes.len());
    println!("bytes          {:>9}", sizes.iter().sum::<usize>());
    println!("most at once   {:>9}", server.most_at_once());
    println!("one by one     {:>9.1?} at least", LATENCY * REQUESTS);
    println!("{AT_ONCE} at once     {took:>9.1?}");
    Ok(())
}
