//! [`Link`]: the connection of a parent and a worker, a stream of frames that carries bytes, handles, doorbells and the
//! requests of channel ends.
//!
//! Not every system can wait for a stream with a time limit, or pass handles with its bytes. So one thread on each side
//! reads the stream, and hands what comes to the threads that wait for it; the end of the stream is the end of the
//! other process.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::Handle;
use super::end::End;
use super::frame::{Kind, ReceivedFrame, invalid};
use super::inbox::{HANDLE_TIMEOUT, Inbox};
use super::memory::MemoryHandle;
use super::output::Output;
use super::requests::{PendingWaits, Requests};
use super::system::{Closer, Duplex, NEEDS_RECEIPT, Reader, is_closed_here};
use crate::sys::owner::{Owner, exit_now};
use crate::sys::{mutex, thread};

/// Which side of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Parent,
    Worker,
}

pub(super) struct Link {
    pub(super) role: Role,
    /// The process that made the link. Its forked copies have none of the link's threads.
    owner: Owner,
    closer: Closer,
    pub(super) inbox: Inbox,
    /// The worker exits when its parent closes the link.
    exits_with_peer: AtomicBool,
    output: Output,
    /// A worker's memory on its way to a parent that takes its own handle of it.
    lent: Mutex<HashMap<u64, Vec<MemoryHandle>>>,
    /// Parent: the channel ends that the worker has, by the numbers that name them on this link.
    pub(super) ends: Mutex<HashMap<u32, End>>,
    next_end: AtomicU32,
    /// Parent: the waits of the worker's channel ends.
    pub(super) waits: PendingWaits,
    /// Worker: the requests that wait for a reply.
    pub(super) requests: Requests,
}

impl Link {
    /// Starts the threads of one side.
    pub(super) fn start(stream: Duplex, role: Role) -> io::Result<Arc<Self>> {
        let (reader, writer, closer) = stream.split()?;
        let (output, queued) = match role {
            Role::Parent => (Output::queued(writer.clone()), Some(writer)),
            Role::Worker => (Output::direct(writer), None),
        };
        let link = Arc::new(Self {
            role,
            owner: Owner::this_process(),
            closer,
            inbox: Inbox::default(),
            exits_with_peer: AtomicBool::new(false),
            output,
            lent: Mutex::default(),
            ends: Mutex::default(),
            next_end: AtomicU32::new(0),
            waits: PendingWaits::default(),
            requests: Requests::default(),
        });
        if let Some(writer) = queued {
            let link = Arc::clone(&link);
            thread::spawn("fanfold-writer".to_owned(), Some(1 << 17), move || link.output.write_queued(writer))?;
        }
        let reads = Arc::clone(&link);
        let started = thread::spawn("fanfold-reader".to_owned(), Some(1 << 18), move || reads.read_all(reader));
        if let Err(error) = started {
            link.close();
            return Err(error);
        }
        Ok(link)
    }

    /// Sends a frame.
    ///
    /// # Errors
    ///
    /// As [`Output::send`], and in a forked copy of the process.
    pub(super) fn send(
        self: &Arc<Self>,
        (kind, id, request): (Kind, u32, u32),
        parts: &[&[u8]],
        handles: &[&Handle],
    ) -> io::Result<()> {
        if !self.owner.is_this_process() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let frame = self.encode((kind, id, request), parts, handles)?;
        self.output.send(frame, |frame| {
            if NEEDS_RECEIPT {
                let mut lent = mutex::lock(&self.lent);
                for (_, memory) in &frame.memory {
                    lent.entry(memory.word()).or_default().push(memory.clone());
                }
            }
        })
    }

    /// Parent: gives the worker a channel end; returns the number that names it.
    pub(super) fn lend(&self, end: &End) -> u32 {
        let id = self.next_end.fetch_add(1, Ordering::Relaxed);
        // A link that has closed takes no more ends: `finish` has dropped those that it had.
        let mut ends = mutex::lock(&self.ends);
        if !self.inbox.is_closed() {
            ends.insert(id, end.clone());
        }
        id
    }

    /// The end that the worker names.
    pub(super) fn end(&self, id: u32) -> io::Result<End> {
        mutex::lock(&self.ends).get(&id).cloned().ok_or_else(invalid)
    }

    /// Waits for a handle that the other side says it has sent. A worker believes its parent; a parent gives up after
    /// [`HANDLE_TIMEOUT`].
    pub(super) fn wait_for_handle(&self) {
        self.inbox.wait_for_handle((self.role == Role::Parent).then(|| Instant::now() + HANDLE_TIMEOUT));
    }

    /// Worker: from now on this process exits when its parent is gone.
    pub(super) fn exit_with_peer(&self) {
        self.exits_with_peer.store(true, Ordering::SeqCst);
        if self.inbox.is_closed() {
            exit_now();
        }
    }

    /// Ends the connection. The other side gets what was written.
    pub(super) fn close(&self) {
        // A forked copy has the same socket, and its parent goes on.
        if !self.owner.is_this_process() {
            return;
        }
        self.output.close();
        self.closer.close();
    }

    /// The reader thread.
    fn read_all(self: &Arc<Self>, mut reader: Reader) {
        let mut buffer = Vec::new();
        let mut chunk = vec![0; 1 << 16];
        loop {
            let len = match reader.read(&mut chunk) {
                Ok(len @ 1..) => len,
                // A task closed the worker's end. The parent notices that, and kills the worker.
                Err(error) if is_closed_here(&error) => return,
                Ok(0) | Err(_) => break,
            };
            buffer.extend_from_slice(&chunk[..len]);
            let mut rest = &buffer[..];
            let sound = loop {
                match self
                    .decode(&mut rest, &mut reader)
                    .and_then(|frame| frame.map(|frame| self.handle(frame)).transpose())
                {
                    Ok(Some(())) => {}
                    Ok(None) => break true,
                    Err(_) => break false,
                }
            };
            if !sound {
                break;
            }
            let read = buffer.len() - rest.len();
            buffer.drain(..read);
        }
        self.finish();
    }

    fn handle(self: &Arc<Self>, frame: ReceivedFrame) -> io::Result<()> {
        match (frame.kind, self.role) {
            (Kind::MESSAGE, _) => self.inbox.add(frame.payload, frame.handles)?,
            (Kind::DOORBELL, Role::Worker) => self.inbox.ring(),
            (Kind::RECEIPT, Role::Worker) => {
                let word = frame.payload.try_into().map(u64::from_ne_bytes).map_err(|_| invalid())?;
                let memory = mutex::lock(&self.lent).get_mut(&word).and_then(Vec::pop);
                drop(memory);
            }
            (Kind::REPLY, Role::Worker) => self.requests.answer(frame),
            (_, Role::Parent) => self.serve(frame)?,
            (_, Role::Worker) => return Err(invalid()),
        }
        Ok(())
    }

    /// The other side is gone, or has sent something invalid.
    fn finish(&self) {
        if self.exits_with_peer.load(Ordering::SeqCst) {
            exit_now();
        }
        self.inbox.close();
        self.close();
        self.waits.cancel_all();
        let ends = std::mem::take(&mut *mutex::lock(&self.ends));
        drop(ends);
        self.requests.fail_all();
    }
}
