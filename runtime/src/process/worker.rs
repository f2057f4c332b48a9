//! A worker process: it runs the requests of its parent, one after the other, until there are no more.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::codec::Decoder;
use super::handshake::{self, Hello};
use super::message::Mail;
use super::os::{self, AsFd, UnixStream};
use super::registry;
use super::serve::{Replies, Serving, call_parent};
use crate::process::transport::doorbell::{CLOSE, TIDY};
use crate::process::transport::ring::{Frame, Shared};
use crate::sys::clock::Moment;
use crate::sys::owner::{Owner, exit_now};

/// Replies to shorter requests wait for the next ones', while there are any.
const SHORT_NS: u64 = 20_000;

/// Set in a worker process.
static PARENT: OnceLock<u32> = OnceLock::new();

/// Bytes of private memory that this worker process may have; 0 without a limit.
static MEMORY_LIMIT: AtomicU64 = AtomicU64::new(0);

/// The memory limit of this worker process, if it is one that has a limit.
pub(super) fn memory_limit() -> Option<u64> {
    Some(MEMORY_LIMIT.load(Ordering::Relaxed)).filter(|limit| *limit > 0)
}

/// Whether this process is a worker.
pub(crate) fn is_worker_process() -> bool {
    PARENT.get().is_some()
}

/// Serves the parent, and ends this process with it.
pub(super) fn run(parent: u32) -> ! {
    let _ = PARENT.set(parent);
    let served = serve(parent);
    if let Err(error) = &served {
        if os::parent_id() != Some(parent) {
            exit_now(); // There is nobody to tell.
        }
        eprintln!("a fanfold worker process cannot start: {error}");
    }
    let _ = io::stdout().flush();
    std::process::exit(i32::from(served.is_err()))
}

struct Worker {
    shared: Shared,
    mail: Mail,
    scratch: Vec<u8>,
}

fn serve(parent: u32) -> io::Result<()> {
    Owner::this_process().become_worker();
    if !os::end_with_parent(parent) {
        exit_now();
    }
    os::leave_signals_to_parent();
    let mut worker = meet()?;
    while let Some(frame) = worker.next() {
        worker.answer(&frame);
    }
    Ok(())
}

/// Opens what the parent shares, and says hello to it; or why that cannot be.
fn meet() -> io::Result<Worker> {
    let taken = os::take_stdin();
    let mut socket = taken.inspect_err(|error| os::with_stdin(|socket| handshake::refuse(socket, error)))?;
    match prepare(&mut socket) {
        Ok(shared) => Ok(Worker { shared, mail: Mail::new(socket), scratch: Vec::new() }),
        Err(error) => {
            handshake::refuse(&mut socket, &error);
            Err(error)
        }
    }
}

/// Gets everything ready that the system may refuse; a hello is the last step, so a worker that says it has started.
fn prepare(socket: &mut UnixStream) -> io::Result<Shared> {
    let mut descriptors = VecDeque::new();
    os::receive(&socket.as_fd(), &mut [0], &mut descriptors, true)?;
    let memory = descriptors.pop_front().ok_or_else(|| {
        io::Error::other("its parent sent no memory, or it may open no more files (RLIMIT_NOFILE, `ulimit -n`)")
    })?;
    let hello = Hello::read(socket)?;
    let own = Hello::new(hello.memory_limit);
    if hello != own {
        // The parent compares the two as well, and tells its user.
        let _ = socket.write_all(&own.to_bytes());
        exit_now();
    }
    let shared = Shared::open(&memory)?;
    if hello.memory_limit > 0 {
        os::limit_memory(hello.memory_limit)?;
        MEMORY_LIMIT.store(hello.memory_limit, Ordering::Relaxed);
    }
    // The kernel's signal comes when the parent's thread ends; this also sees a parent that has let go of the socket, and
    // a task that ends this thread alone: the process would live on and answer nothing.
    os::watch_parent_and_this_thread(socket)?;
    socket.write_all(&own.to_bytes())?;
    Ok(shared)
}

impl Worker {
    /// Waits for the next request; `None` when the parent wants no more.
    fn next(&mut self) -> Option<Frame> {
        loop {
            match self.shared.begin() {
                Ok(Some(frame)) => return Some(frame),
                Ok(None) => {}
                // The memory of the two is not what it must be: nothing that it says can be believed.
                Err(_) => exit_now(),
            }
            call_parent(&self.shared, &self.mail);
            if self.shared.take_order(TIDY) {
                self.mail.outbox.tidy();
                self.mail.inbox.tidy();
            }
            if self.shared.take_order(CLOSE) {
                return None;
            }
            self.shared.wait_for_request();
        }
    }

    /// Refuses a request whose blocks or open files did not arrive, and ends: those of the next requests may be missing too.
    fn cannot_read(&mut self, frame: &Frame, error: &io::Error) -> ! {
        let [_, left, _] = frame.words;
        let (shared, mail, scratch) = (&self.shared, &mut self.mail, &mut self.scratch);
        let replies = Replies { shared, mail, scratch, open: None, left, request: frame.number, begun: Moment::now() };
        let mut serving = Serving { input: Decoder::new(&[], Vec::new()), replies };
        serving.refuse(&format!("the worker process could not receive its arguments: {error}"));
        serving.replies.flush();
        call_parent(&self.shared, &self.mail);
        exit_now()
    }

    /// Runs a request, and replies.
    fn answer(&mut self, frame: &Frame) {
        let [number, count, word] = frame.words;
        let parcel = self.mail.open(word, self.shared.payload(frame));
        let mut parcel = match parcel {
            Ok(parcel) => parcel,
            Err(error) => self.cannot_read(frame, &error),
        };
        // A parent that waits for this lets go of the ends.
        if parcel.has_ends() {
            call_parent(&self.shared, &self.mail);
        }
        let begun = Moment::now();
        let replies = Replies {
            shared: &self.shared,
            mail: &mut self.mail,
            scratch: &mut self.scratch,
            open: None,
            left: count,
            request: frame.number,
            begun,
        };
        let mut serving = Serving { input: parcel.decoder(), replies };
        registry::serve(number, &mut serving);
        serving.replies.flush();
        // What a task printed is seen even if the next one ends the process.
        let _ = io::stdout().flush();
        drop(serving);
        drop(parcel);
        self.shared.pass(frame);
        // One that took long is not kept back for those behind it.
        if Moment::now().since(begun) > SHORT_NS {
            call_parent(&self.shared, &self.mail);
        }
    }
}
