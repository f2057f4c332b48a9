//! Runs the service: answers, a client that leaves, the deadline, a full queue, and its end.

#[allow(dead_code, reason = "the service is not run to its end by one call")]
mod program;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fanfold_examples::http;

/// Takes longer than any deadline.
const ENDLESS: &str = "/primes/1000000000000";
/// What the service prints at its end.
const END: &str = "all requests were answered: true; all work was finished: true";
/// A test that waits longer has failed.
const LIMIT: Duration = Duration::from_mins(1);

struct Service {
    child: Child,
    address: SocketAddr,
    output: BufReader<std::process::ChildStdout>,
}

impl Service {
    fn start(threads: u32, deadline: u32) -> Self {
        let mut command = Command::new(program::path("service"));
        command.env_remove("FANFOLD_SERIAL").env("FANFOLD_CPU_THREADS", threads.to_string());
        command.args(["0", &deadline.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("`cargo test -p fanfold-examples` builds it");
        let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("text");
        let address = line.trim().strip_prefix("listening on ").expect("its address").parse().expect("an address");
        Self { child, address, output }
    }

    fn get(&self, path: &str) -> Result<String, String> {
        http::get(self.address, path).map_err(|error| error.to_string())
    }

    /// Sends a request, and leaves its answer unread.
    fn send(&self, path: &str) -> TcpStream {
        let mut client = TcpStream::connect(self.address).expect("it listens");
        client.write_all(http::request(path).as_bytes()).expect("it reads");
        client
    }

    /// Waits until the figures of the pool are as wanted.
    fn wait_until(&self, wanted: impl Fn(&str) -> bool) {
        let start = Instant::now();
        loop {
            let stats = self.get("/stats").expect("figures");
            if wanted(&stats) {
                return;
            }
            assert!(start.elapsed() < LIMIT, "{stats}");
            thread::yield_now();
        }
    }

    fn wait_for(&self, figure: &str) {
        self.wait_until(|stats| stats.contains(figure));
    }

    /// Closes the service's input, and returns what it prints at its end.
    fn end(mut self) -> String {
        drop(self.child.stdin.take());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).expect("text");
        assert!(self.child.wait().expect("it runs").success());
        rest
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It has ended already unless the test fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn clients_that_leave_stop_the_work() {
    let service = Service::start(2, 300);
    assert_eq!(service.get("/primes/100").as_deref(), Ok("25"));
    let clients = [service.send(ENDLESS), service.send(ENDLESS)];
    service.wait_for("busy: 2");
    assert_eq!(service.get("/ping").as_deref(), Ok("pong")); // while all workers compute
    drop(clients);
    service.wait_for("busy: 0");
    assert_eq!(service.get("/primes/100").as_deref(), Ok("25"));
    assert_eq!(service.end().trim(), END);
}

#[test]
fn the_deadline_stops_the_work() {
    let service = Service::start(2, 1);
    assert!(service.get(ENDLESS).expect_err("it is endless").contains("504"));
    service.wait_for("busy: 0");
    assert_eq!(service.end().trim(), END);
}

#[test]
fn a_full_queue_refuses_and_the_end_answers_what_is_in_progress() {
    let service = Service::start(1, 300);
    let running = service.send(ENDLESS);
    service.wait_for("busy: 1");
    let waiting: Vec<_> = (0..64).map(|_| service.send(ENDLESS)).collect();
    service.wait_for("queued: 64");
    assert!(service.get("/primes/10").expect_err("the queue is full").contains("503"));
    drop((running, waiting));
    service.wait_until(|stats| stats.contains("busy: 0") && stats.contains("queued: 0"));
    let before = service.get("/stats").expect("figures");
    let mut last = service.send("/primes/50000");
    service.wait_until(|stats| stats != before); // the service has read the request
    assert_eq!(service.end().trim(), END);
    let mut answer = String::new();
    last.read_to_string(&mut answer).expect("text");
    assert_eq!(http::body(&answer).expect("an answer"), "5133");
}
