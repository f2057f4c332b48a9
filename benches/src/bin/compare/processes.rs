//! Worker processes: round trips of empty tasks, of many tasks and of large data, compared with IPC crates, a plain
//! socket pair, and Python's pools.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use fanfold::prelude::ParallelFrame;
use fanfold::{Bytes, join_all, parallel};
use fanfold_benches::{Contest, FANFOLD, Outcome, Report};
use interprocess::local_socket::{GenericNamespaced, ListenerOptions, Stream, prelude::*};
use ipc_channel::ipc::{self, IpcOneShotServer, IpcReceiver, IpcSender};
use polars::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Options;
use crate::peers::Python;
use crate::ways::after;

const FRAME: &str = "fanfold, DataFrame";
const VECTOR: &str = "fanfold, Vec<u8>";
/// Tells a child process which echo server to run.
const ECHO: &str = "FANFOLD_COMPARE_ECHO";
/// The bytes of a request, and of a reply.
const MESSAGE: usize = 32;
const PIPELINED: u32 = 10_000;

#[parallel(kind = "process")]
fn empty() {}

#[parallel(kind = "process")]
fn square(n: u64) -> u64 {
    n * n
}

#[parallel(kind = "process")]
fn same_view(bytes: Bytes) -> Bytes {
    bytes
}

#[parallel(kind = "process")]
fn same_bytes(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

#[parallel(kind = "process")]
fn same_frame(df: DataFrame) -> DataFrame {
    df
}

#[parallel(kind = "process")]
fn chunk_height(df: DataFrame) -> DataFrame {
    df.head(Some(1))
}

pub(crate) fn run(_: &Options, report: &mut Report) -> Result<(), String> {
    let start = Instant::now();
    empty();
    let first = start.elapsed();
    let title = "the first task after the program's start";
    if report.wants(title) {
        report.keep(Outcome::measured(title, [(FANFOLD.into(), first)])).bar("ms", millis(first), 30.0);
    }
    let python = Python::script("processes.py");
    round_trips(report, &python)?;
    many(report, &python);
    large(report, &python);
    formats(report);
    Ok(())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn round_trips(report: &mut Report, python: &Python) -> Result<(), String> {
    let mut socket = BySocket::start().map_err(|error| error.to_string())?;
    let mut ipc = ByIpcChannel::start()?;
    let mut local = ByLocalSocket::start().map_err(|error| error.to_string())?;
    let spawned = procspawn::Pool::builder(1).build().map_err(|error| error.to_string())?;
    let mut contest = |title: &str, idle: Duration| {
        let contest = Contest::new(title)
            .rounds(5, Duration::from_millis(200))
            .with_timed(FANFOLD, after(idle, empty))
            .with_timed("a socket pair by hand", after(idle, || socket.round_trip()))
            .with_timed("ipc-channel", after(idle, || ipc.round_trip()))
            .with_timed("interprocess (local socket)", after(idle, || local.round_trip()))
            .with_timed("procspawn", after(idle, || spawned.spawn((), |()| ()).join().expect("no panic")));
        report.measure(contest)
    };
    let hot = contest("round trip of an empty task, hot", Duration::ZERO);
    let idle = contest("round trip of an empty task, after 5 ms of idleness", Duration::from_millis(5));
    if let Some(hot) = hot {
        let outcome = report.keep(hot);
        outcome.bar("us", micros(outcome.time(FANFOLD)), 15.0);
        python.add_with_target("empty", outcome, FANFOLD, 8.0);
    }
    if let Some(idle) = idle {
        let outcome = report.keep(idle);
        outcome.bar("us", micros(outcome.time(FANFOLD)), 30.0);
    }
    println!();
    Ok(())
}

fn many(report: &mut Report, python: &Python) {
    let contest = Contest::new("10,000 empty tasks, submitted and then joined; time of each")
        .rounds(5, Duration::from_millis(200))
        .with_timed(FANFOLD, || {
            let start = Instant::now();
            join_all((0..PIPELINED).map(|_| empty::submit())).expect("no panic");
            start.elapsed() / PIPELINED
        });
    if let Some(outcome) = report.run(contest) {
        outcome.bar("us", micros(outcome.time(FANFOLD)), 3.0);
        python.add_with_target("pipelined", outcome, FANFOLD, 1.0);
    }
    let contest = Contest::new("map of 100,000 tiny items")
        .rounds(5, Duration::from_millis(200))
        .with(FANFOLD, || square::map(0..100_000_u64).collect::<Vec<_>>());
    if let Some(outcome) = report.run(contest) {
        outcome.bar("ms", millis(outcome.time(FANFOLD)), 4.0);
        python.add_with_target("map", outcome, FANFOLD, 3.0);
    }
    println!();
}

fn large(report: &mut Report, python: &Python) {
    const SIZE: usize = 100 << 20;
    let view = Bytes::from(vec![1; SIZE]);
    let column = Column::new("x".into(), vec![1.5_f64; SIZE / 8]);
    let frame = DataFrame::new(SIZE / 8, vec![column]).expect("one column");
    let bytes = Mutex::new(vec![1_u8; SIZE]);
    let contest = Contest::new("round trip of 100 MB")
        .rounds(3, Duration::from_millis(500))
        .with(FRAME, || same_frame(frame.clone()).height())
        .with("fanfold, Bytes", || same_view(view.clone()).len())
        .with_timed(VECTOR, || {
            let given = std::mem::take(&mut *bytes.lock().expect("no panic"));
            let start = Instant::now();
            let back = same_bytes(given);
            let took = start.elapsed();
            *bytes.lock().expect("no panic") = back;
            took
        });
    if let Some(outcome) = report.run(contest) {
        outcome.bar("DataFrame, ms", millis(outcome.time(FRAME)), 20.0);
        outcome.bar("Vec<u8>, ms", millis(outcome.time(VECTOR)), 60.0);
        python.add_with_target("bytes", outcome, VECTOR, 1.0);
    }
    texts(report);
    println!();
}

/// Columns of text: the parent copies and checks the results, and each chunk sends only the text that it uses.
fn texts(report: &mut Report) {
    const COPY: &str = "a copy of the column's bytes";
    const CHUNKS: &str = "fanfold, 64 chunks";
    const SLICE: &str = "fanfold, 100 rows";
    let text = |n: u64| format!("{n:020}{n:020}");
    let column = |rows: u64| df!("text" => (0..rows).map(text).collect::<Vec<_>>()).expect("a column");
    let frame = column(2_500_000);
    let contest = Contest::new("round trip of 100 MB of text")
        .rounds(5, Duration::from_millis(300))
        .with("fanfold, DataFrame", || same_frame(frame.clone()));
    if let Some(outcome) = report.run(contest) {
        outcome.bar("ms", millis(outcome.time("fanfold, DataFrame")), 60.0);
    }
    let frame = column(4_750_000);
    // The texts, and 16 bytes for the view of each.
    let bytes = vec![1_u8; frame.estimated_size()];
    let contest = Contest::new("190 MB of text to workers, in chunks")
        .rounds(5, Duration::from_millis(300))
        .with(COPY, || bytes.clone())
        .with(CHUNKS, || frame.par_chunks(64).map(|chunk| Ok(chunk_height(chunk))).expect("no worker dies"))
        .with(SLICE, || chunk_height(frame.slice(1_000_000, 100)));
    if let Some(outcome) = report.run(contest) {
        outcome.bar("against a copy", outcome.ratio(CHUNKS, COPY), 2.0);
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Record {
    id: u64,
    name: String,
    values: Vec<f64>,
    tag: Option<bool>,
}

/// Serialization formats for arguments: writing and reading.
fn formats(report: &mut Report) {
    let records: Vec<Record> = (0..1_000_u32)
        .map(|n| Record {
            id: n.into(),
            name: format!("record {n}"),
            values: vec![f64::from(n); 8],
            tag: (n % 3 == 0).then_some(true),
        })
        .collect();
    let contest = Contest::new("1,000 records written and read")
        .rounds(5, Duration::from_millis(100))
        .with("postcard", || {
            let bytes = postcard::to_allocvec(&records).expect("it can be written");
            postcard::from_bytes::<Vec<Record>>(&bytes).expect("it can be read")
        })
        .with("rmp-serde", || {
            let bytes = rmp_serde::to_vec(&records).expect("it can be written");
            rmp_serde::from_slice::<Vec<Record>>(&bytes).expect("it can be read")
        })
        .with("bitcode", || {
            let bytes = bitcode::serialize(&records).expect("it can be written");
            bitcode::deserialize::<Vec<Record>>(&bytes).expect("it can be read")
        });
    report.run(contest);
    println!();
}

/// Runs an echo server if this process was started as one; it ends with its parent.
pub(crate) fn echo_if_asked() -> bool {
    let Ok(how) = std::env::var(ECHO) else { return false };
    match how.split_once(':') {
        Some(("ipc", name)) => echo_ipc(name),
        Some(("local", name)) => {
            let name = name.to_ns_name::<GenericNamespaced>().expect("a name");
            echo(Stream::connect(name).expect("the parent listens"));
        }
        _ => {
            use std::os::fd::AsFd;
            let socket = std::io::stdin().as_fd().try_clone_to_owned().expect("a socket");
            echo(UnixStream::from(socket));
        }
    }
    true
}

fn echo(mut stream: impl Read + Write) {
    let mut message = [0; MESSAGE];
    while stream.read_exact(&mut message).is_ok() && stream.write_all(&message).is_ok() {}
}

fn child(how: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.env(ECHO, how);
    command
}

/// A child process that is killed on drop.
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct BySocket(UnixStream, #[expect(dead_code, reason = "kills the child on drop")] KillOnDrop);

impl BySocket {
    fn start() -> std::io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let child = child("socket").stdin(Stdio::from(OwnedFd::from(theirs))).spawn()?;
        Ok(Self(ours, KillOnDrop(child)))
    }

    fn round_trip(&mut self) {
        let mut message = [0; MESSAGE];
        self.0.write_all(&message).expect("it listens");
        self.0.read_exact(&mut message).expect("it answers");
    }
}

struct ByLocalSocket(Stream, #[expect(dead_code, reason = "kills the child on drop")] KillOnDrop);

impl ByLocalSocket {
    fn start() -> std::io::Result<Self> {
        let name = format!("fanfold-compare-{}", std::process::id());
        let listener = ListenerOptions::new().name(name.as_str().to_ns_name::<GenericNamespaced>()?).create_sync()?;
        let child = child(&format!("local:{name}")).spawn()?;
        Ok(Self(listener.accept()?, KillOnDrop(child)))
    }

    fn round_trip(&mut self) {
        let mut message = [0; MESSAGE];
        self.0.write_all(&message).expect("it listens");
        self.0.read_exact(&mut message).expect("it answers");
    }
}

type Ends = (IpcSender<[u8; MESSAGE]>, IpcReceiver<[u8; MESSAGE]>);

struct ByIpcChannel(Ends, #[expect(dead_code, reason = "kills the child on drop")] KillOnDrop);

impl ByIpcChannel {
    fn start() -> Result<Self, String> {
        let (server, name) = IpcOneShotServer::<Ends>::new().map_err(|error| error.to_string())?;
        let child = child(&format!("ipc:{name}")).spawn().map_err(|error| error.to_string())?;
        let (_, ends) = server.accept().map_err(|error| error.to_string())?;
        Ok(Self(ends, KillOnDrop(child)))
    }

    fn round_trip(&mut self) {
        self.0.0.send([0; MESSAGE]).expect("it listens");
        self.0.1.recv().expect("it answers");
    }
}

fn echo_ipc(name: &str) {
    let (request, requests) = ipc::channel::<[u8; MESSAGE]>().expect("a channel");
    let (answer, answered) = ipc::channel::<[u8; MESSAGE]>().expect("a channel");
    let parent = IpcSender::connect(name.to_owned()).expect("the parent listens");
    parent.send((request, answered)).expect("the parent listens");
    while let Ok(message) = requests.recv() {
        if answer.send(message).is_err() {
            return;
        }
    }
}
