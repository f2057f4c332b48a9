//! A worker process: it runs the requests of its parent, one after the other, until there are no more.

use std::collections::VecDeque;
use std::io::{self, Write};

use super::codec::Decoder;
use super::handshake::{self, Handshake};
use super::message::Connection;
use super::os::{self, AsFd, UnixStream};
use super::serve::{ReplyWriter, Serving, ring_doorbell};
use super::{registry, role};
use crate::process::transport::doorbell::{CLOSE, RELEASE_MEMORY};
use crate::process::transport::ring::{RingFrame, Rings};
use crate::sys::clock::Moment;
use crate::sys::owner::{Owner, end_now};

/// ReplyWriter to shorter requests wait for the next ones', while there are any.
const FLUSH_AFTER_NS: u64 = 20_000;

/// Serves the parent, and ends this process with it.
pub(super) fn run(parent: u32) -> ! {
    role::become_worker_of(parent);
    let served = serve(parent);
    if let Err(error) = &served {
        if os::parent_id() != Some(parent) {
            end_now(); // There is nobody to tell.
        }
        eprintln!("a fanfold worker process cannot start: {error}");
    }
    let _ = io::stdout().flush();
    std::process::exit(i32::from(served.is_err()))
}

struct Worker {
    rings: Rings,
    connection: Connection,
    scratch: Vec<u8>,
}

fn serve(parent: u32) -> io::Result<()> {
    Owner::this_process().become_worker();
    if !os::die_with_parent(parent) {
        end_now();
    }
    os::install_noop_signal_handlers();
    let mut worker = connect()?;
    while let Some(frame) = worker.next() {
        worker.serve_request(&frame);
    }
    Ok(())
}

/// Opens what the parent shares, and says handshake to it; or why that cannot be.
fn connect() -> io::Result<Worker> {
    let taken = os::take_stdin();
    let mut socket = taken.inspect_err(|error| os::with_stdin(|socket| handshake::refuse(socket, error)))?;
    match prepare(&mut socket) {
        Ok(rings) => Ok(Worker { rings, connection: Connection::new(socket), scratch: Vec::new() }),
        Err(error) => {
            handshake::refuse(&mut socket, &error);
            Err(error)
        }
    }
}

/// Gets everything ready that the system may refuse; a handshake is the last step, so a worker that says it has
/// started.
fn prepare(socket: &mut UnixStream) -> io::Result<Rings> {
    let mut descriptors = VecDeque::new();
    os::receive(&socket.as_fd(), &mut [0], &mut descriptors, true)?;
    let memory = descriptors.pop_front().ok_or_else(|| {
        io::Error::other("its parent sent no memory, or it may open no more files (RLIMIT_NOFILE, `ulimit -n`)")
    })?;
    let handshake = Handshake::read(socket)?;
    let own = Handshake::new(handshake.memory_limit);
    if handshake != own {
        // The parent compares the two as well, and tells its user.
        let _ = socket.write_all(&own.to_bytes());
        end_now();
    }
    let rings = Rings::open(&memory)?;
    if handshake.memory_limit > 0 {
        os::set_memory_limit(handshake.memory_limit)?;
        role::set_memory_limit(handshake.memory_limit);
    }
    // The kernel's signal comes when the parent's thread ends; this also sees a parent that has let go of the socket,
    // and a task that ends this thread alone: the process would live on and serve_request nothing.
    os::exit_with_parent_or_this_thread(socket)?;
    socket.write_all(&own.to_bytes())?;
    Ok(rings)
}

impl Worker {
    /// Waits for the next request; `None` when the parent wants no more.
    fn next(&mut self) -> Option<RingFrame> {
        loop {
            match self.rings.begin_request() {
                Ok(Some(frame)) => return Some(frame),
                Ok(None) => {}
                // The memory of the two is not what it must be: nothing that it says can be believed.
                Err(_) => end_now(),
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

    /// Refuses a request whose attachments or open files did not arrive, and ends: those of the next requests may be
    /// missing too.
    fn refuse_unreadable(&mut self, frame: &RingFrame, error: &io::Error) -> ! {
        let [_, left, _] = frame.words;
        let (rings, connection, scratch) = (&self.rings, &mut self.connection, &mut self.scratch);
        let replies =
            ReplyWriter { rings, connection, scratch, open: None, left, request: frame.number, begun: Moment::now() };
        let mut serving = Serving { input: Decoder::new(&[], Vec::new()), replies };
        serving.refuse(&format!("the worker process could not receive its arguments: {error}"));
        serving.replies.flush();
        ring_doorbell(&self.rings, &self.connection);
        end_now()
    }

    /// Runs a request, and replies.
    fn serve_request(&mut self, frame: &RingFrame) {
        let [number, count, attachment_word] = frame.words;
        let message = self.connection.open(attachment_word, self.rings.request_payload(frame));
        let mut message = match message {
            Ok(message) => message,
            Err(error) => self.refuse_unreadable(frame, &error),
        };
        // A parent that waits for this lets go of the ends.
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
        let mut serving = Serving { input: message.decoder(), replies };
        registry::serve(number, &mut serving);
        serving.replies.flush();
        // What a task printed is seen even if the next one ends the process.
        let _ = io::stdout().flush();
        drop(serving);
        drop(message);
        self.rings.release_request(frame);
        // One that took long is not kept back for those behind it.
        if Moment::now().since(begun) > FLUSH_AFTER_NS {
            ring_doorbell(&self.rings, &self.connection);
        }
    }
}
