//! The worker process: runs the requests of its parent, one after the other, until it is told to exit.

use std::collections::VecDeque;
use std::io::{self, Write};

use super::codec::Decoder;
use super::handshake::{self, Handshake};
use super::message::Connection;
use super::os::{self, AsHandle, Socket};
use super::serve::{ReplyWriter, Serving, WorkerRequest, ring_doorbell};
use super::worker_hooks::at_offset;
use super::{registry, role};
use crate::channel::wait_until_sent;
use crate::process::transport::doorbell::{CLOSE, RELEASE_MEMORY};
use crate::process::transport::ring::{RingFrame, Rings};
use crate::sys::clock::Moment;
use crate::sys::owner::{Owner, exit_now};
use crate::sys::unwind;

/// The reply to a request that took longer than this, in nanoseconds, is announced at once. Faster ones are announced
/// together when no request waits.
const FLUSH_AFTER_NS: u64 = 20_000;

/// Serves the parent, and then exits.
pub(super) fn run(parent: u32) -> ! {
    role::become_worker_of(parent);
    let served = serve(parent);
    if let Err(error) = &served {
        if !os::is_parent(parent) {
            exit_now();
        }
        eprintln!("a fanfold worker process cannot start: {error}");
    }
    let _ = io::stdout().flush();
    std::process::exit(i32::from(served.is_err()))
}

/// The functions to run first and last.
type Hooks = [Option<fn()>; 2];

struct WorkerProcess {
    hooks: Hooks,
    rings: Rings,
    connection: Connection,
    scratch: Vec<u8>,
}

/// Runs requests until the parent closes the worker, and then the pool's hook.
fn serve(parent: u32) -> io::Result<()> {
    Owner::this_process().become_worker();
    if !os::die_with_parent(parent) {
        exit_now();
    }
    os::install_noop_signal_handlers();
    let mut worker = connect()?;
    let [start, stop] = worker.hooks;
    if let Some(start) = start {
        unwind::contain(start);
    }
    while let Some(frame) = worker.next() {
        worker.serve_request(&frame);
    }
    if let Some(stop) = stop {
        unwind::contain(stop);
    }
    wait_until_sent();
    // The connection stays open until the process has ended, and its parent waits for that: over the portable transport
    // the end of the connection ends the process.
    std::mem::forget(worker);
    Ok(())
}

/// Opens the socket and the shared memory, and answers the handshake; or reports to the parent why that failed.
fn connect() -> io::Result<WorkerProcess> {
    let taken = os::take_stdin();
    let mut socket = taken.inspect_err(|error| os::with_stdin(|socket| handshake::refuse(socket, error)))?;
    match prepare(&mut socket) {
        Ok((rings, hooks)) => {
            Ok(WorkerProcess { hooks, rings, connection: Connection::new(socket), scratch: Vec::new() })
        }
        Err(error) => {
            handshake::refuse(&mut socket, &error);
            Err(error)
        }
    }
}

/// Prepares everything that the system may refuse. The answer to the handshake comes last, so a worker that answers has
/// started.
fn prepare(socket: &mut Socket) -> io::Result<(Rings, Hooks)> {
    let mut descriptors = VecDeque::new();
    os::receive(socket.as_handle(), &mut [0], &mut descriptors, true)?;
    let memory = descriptors.pop_front().ok_or_else(|| {
        io::Error::other("its parent sent no memory, or it may open no more files (RLIMIT_NOFILE, `ulimit -n`)")
    })?;
    let handshake = Handshake::read(socket)?;
    let own = Handshake::new(handshake.memory_limit, handshake.hooks);
    if handshake != own {
        // The parent compares both handshakes as well, and reports the difference.
        let _ = socket.write_all(&own.to_bytes());
        exit_now();
    }
    let mut rings = Rings::open(&memory)?;
    rings.connect(socket);
    let hooks = [at_offset(handshake.hooks.start)?, at_offset(handshake.hooks.stop)?];
    if handshake.memory_limit > 0 {
        os::set_memory_limit(handshake.memory_limit)?;
        role::set_memory_limit(handshake.memory_limit);
    }
    // The kernel kills the worker when the parent's thread ends. This also notices a parent that closed the socket, and
    // a task that ended the main thread alone, after which the process would live on and answer nothing.
    os::exit_with_parent_or_this_thread(socket)?;
    socket.write_all(&own.to_bytes())?;
    Ok((rings, hooks))
}

impl WorkerProcess {
    /// Waits for the next request; `None` if the worker should exit.
    fn next(&mut self) -> Option<RingFrame> {
        loop {
            match self.rings.begin_request() {
                Ok(Some(frame)) => return Some(frame),
                Ok(None) => {}
                // The counters are invalid, so nothing in the shared memory can be trusted.
                Err(_) => exit_now(),
            }
            ring_doorbell(&self.rings, &self.connection);
            if self.rings.take_command(RELEASE_MEMORY) {
                self.connection.outbox.release_memory();
                self.connection.inbox.release_memory();
            }
            if self.rings.take_command(CLOSE) {
                return None;
            }
            self.rings.wait_for_request();
        }
    }

    /// Refuses a request whose attachments could not be received, and ends the process: attachments of later requests
    /// may be missing too.
    fn refuse_unreadable(&mut self, frame: &RingFrame, error: &io::Error) -> ! {
        let [_, left, _] = frame.words;
        let (rings, connection, scratch) = (&self.rings, &mut self.connection, &mut self.scratch);
        let replies =
            ReplyWriter { rings, connection, scratch, open: None, left, request: frame.number, begun: Moment::now() };
        let mut serving = WorkerRequest { input: Decoder::new(&[], Vec::new()), replies };
        serving.refuse(&format!("the worker process could not receive its arguments: {error}"));
        serving.replies.flush();
        ring_doorbell(&self.rings, &self.connection);
        exit_now()
    }

    /// Runs a request, and writes its replies.
    fn serve_request(&mut self, frame: &RingFrame) {
        let [number, count, attachment_word] = frame.words;
        let message = self.connection.open(attachment_word, self.rings.request_payload(frame));
        let mut message = match message {
            Ok(message) => message,
            Err(error) => self.refuse_unreadable(frame, &error),
        };
        // The parent waits for this request to begin, and then drops its copies of the channel ends.
        if message.has_descriptors() {
            ring_doorbell(&self.rings, &self.connection);
        }
        let begun = Moment::now();
        let replies = ReplyWriter {
            rings: &self.rings,
            connection: &mut self.connection,
            scratch: &mut self.scratch,
            open: None,
            left: count,
            request: frame.number,
            begun,
        };
        let mut serving = Serving::Worker(WorkerRequest { input: message.decoder(), replies });
        registry::serve(number, &mut serving);
        if let Serving::Worker(request) = &mut serving {
            request.replies.flush();
        }
        // The output of a task is visible even if the next task ends the process.
        let _ = io::stdout().flush();
        drop(serving);
        drop(message);
        self.rings.release_request(frame);
        // The reply to a long request is not held back for those behind it.
        if Moment::now().since(begun) > FLUSH_AFTER_NS {
            ring_doorbell(&self.rings, &self.connection);
        }
    }
}
