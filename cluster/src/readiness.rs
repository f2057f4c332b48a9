//! Asks a scheduler how many executors it has, over its HTTP page for readiness probes.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// The interval at which a waiting caller asks again.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// The time limit of one question.
const LIMIT: Duration = Duration::from_secs(5);
/// The most bytes of an answer.
const LONGEST_ANSWER: u64 = 16 << 10;

/// The number of executors of the scheduler.
pub(crate) fn executors(host: &str, port: u16) -> io::Result<usize> {
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in (name, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, LIMIT).and_then(|stream| ask(stream, host)) {
            Ok(executors) => return Ok(executors),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn ask(mut stream: TcpStream, host: &str) -> io::Result<usize> {
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.write_all(format!("GET /readyz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    parse(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "what answers there is no scheduler"))
}

/// The number in `ready: 2 executors registered`, or `not ready: 0/1 executors registered`.
fn parse(answer: &str) -> Option<usize> {
    let (_, body) = answer.split_once("\r\n\r\n")?;
    let (_, counts) = body.split_once("ready: ")?;
    let digits = counts.find(|character: char| !character.is_ascii_digit()).unwrap_or(counts.len());
    counts[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn both_answers_have_the_number_of_executors() {
        assert_eq!(parse("HTTP/1.1 200 OK\r\n\r\nready: 12 executors registered\n"), Some(12));
        assert_eq!(parse("HTTP/1.1 503 No\r\n\r\nnot ready: 0/1 executors registered\n"), Some(0));
        assert_eq!(parse("HTTP/1.1 200 OK\r\n\r\n<html>"), None);
    }
}
