//! Minimal HTTP on loopback: a server that waits before each answer, and a blocking client.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{self, TcpListener, TcpSocket};
use tokio::runtime::Builder;

/// Connections that may wait to be accepted. The client of a further one retries a second later.
const BACKLOG: u32 = 1_024;

/// A server that runs until the program ends: `/page/7` answers 1,007 bytes.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    load: Arc<Load>,
}

/// The number of requests in progress, and its maximum.
#[derive(Debug, Default)]
struct Load {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Server {
    /// Starts a server on a free port, on a thread of its own, which waits `latency` before each answer.
    ///
    /// # Errors
    ///
    /// If no port is available.
    pub fn start(latency: Duration) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(async {
            let socket = TcpSocket::new_v4()?;
            socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
            socket.listen(BACKLOG)
        })?;
        let server = Self { address: listener.local_addr()?, load: Arc::default() };
        let load = Arc::clone(&server.load);
        thread::Builder::new().name("server".into()).spawn(move || runtime.block_on(serve(listener, latency, load)))?;
        Ok(server)
    }

    /// The address on which the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The maximum of requests in progress at once.
    #[must_use]
    pub fn most_at_once(&self) -> usize {
        self.load.most.load(Ordering::Relaxed)
    }
}

async fn serve(listener: TcpListener, latency: Duration, load: Arc<Load>) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(answer(stream, latency, Arc::clone(&load)));
    }
}

async fn answer(mut stream: net::TcpStream, latency: Duration, load: Arc<Load>) -> io::Result<()> {
    let mut lines = BufReader::new(&mut stream).lines();
    let request = lines.next_line().await?.unwrap_or_default();
    // Reads the rest of the head, which must be done before the connection is closed.
    while lines.next_line().await?.is_some_and(|line| !line.is_empty()) {}

    let now = load.now.fetch_add(1, Ordering::Relaxed) + 1;
    load.most.fetch_max(now, Ordering::Relaxed);
    tokio::time::sleep(latency).await;
    load.now.fetch_sub(1, Ordering::Relaxed);

    let page = request.split_whitespace().nth(1).and_then(|path| path.strip_prefix("/page/")?.parse::<u16>().ok());
    let answer = match page {
        Some(page) => format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(1_000 + usize::from(page))),
        None => "HTTP/1.1 404 Not Found\r\n\r\nno such page".to_owned(),
    };
    stream.write_all(answer.as_bytes()).await
}

/// The body of the answer to `GET path`.
///
/// # Errors
///
/// If the server cannot be reached, closes too early, or answers with another status than 200.
pub fn get(server: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(server)?;
    stream.write_all(request(path).as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    body(&answer).map(str::to_owned)
}

/// The request that [`get`] sends.
#[must_use]
pub fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
}

/// The body of a complete answer.
///
/// # Errors
///
/// If the head is incomplete, or the status is not 200.
pub fn body(answer: &str) -> io::Result<&str> {
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.lines().next().unwrap_or_default();
    if status.split_whitespace().nth(1) == Some("200") { Ok(body) } else { Err(io::Error::other(status.to_owned())) }
}
