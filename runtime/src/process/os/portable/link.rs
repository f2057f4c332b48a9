//! [`Link`]: the connection of a parent and a worker, a stream of frames that carries bytes, handles, doorbells and the
//! requests of channel ends.
//!
//! Not every system can wait for a stream with a time limit, or pass handles with its bytes. So one thread on each side
//! reads the stream, and hands what comes to the threads that wait for it; the end of the stream is the end of the
//! other process. On the parent's side another thread writes, so that a worker that does not read keeps nobody in its
//! parent waiting. A worker trusts its parent and writes at once: its parent always reads.
//!
//! ```text
//!   frame:   length | kind, handles | id | request || handles, 17 bytes each | payload
//! ```

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::memory::MemoryHandle;
use super::pipe::{Direction, End};
use super::requests::{PendingWaits, Requests};
use super::system::{Closer, Duplex, NEEDS_RECEIPT, Reader, Writer, is_closed_here};
use super::{Handle, MAX_FDS_PER_MESSAGE};
use crate::sys::owner::{Owner, exit_now};
use crate::sys::{mutex, thread};

/// The bytes before the handles: the length of what follows, the kind, the number of handles, and two numbers.
const HEADER: usize = 16;
/// The bytes of a handle: what it is, and two words.
const ENTRY: usize = 17;
/// The longest frame that a process sends is a channel's longest inline message.
const MAX_FRAME: usize = 1 << 17;
/// What a side may have sent that the other has not taken: a sound process sends less before an answer comes.
const MAX_UNREAD_BYTES: usize = 1 << 16;
const MAX_UNREAD_HANDLES: usize = 1024;
/// What waits for a worker that does not read. One reply of 64 KiB for each of 1,000 waiting threads fits.
const MAX_QUEUED: usize = 64 << 20;

/// The time that a thread may take to read what was sent, on an overloaded machine.
const HANDLE_TIMEOUT: Duration = Duration::from_secs(2);

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind(pub(super) u8);

impl Kind {
    /// Bytes and handles, for [`Link::take`].
    pub(super) const MESSAGE: Self = Self(0);
    /// Wakes the worker that waits in [`Link::sleep`].
    pub(super) const DOORBELL: Self = Self(1);
    /// The receiver has its own handle of memory, and the sender may close the one that it keeps.
    const RECEIPT: Self = Self(2);
    /// Requests of channel ends, and the replies to them: see `requests.rs`.
    pub(super) const SEND: Self = Self(3);
    pub(super) const RECEIVE: Self = Self(4);
    pub(super) const WAIT: Self = Self(5);
    pub(super) const CANCEL: Self = Self(6);
    pub(super) const CLOSE: Self = Self(7);
    pub(super) const DROP: Self = Self(8);
    pub(super) const ADOPT: Self = Self(9);
    pub(super) const REPLY: Self = Self(10);
}

/// Which side of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Parent,
    Worker,
}

/// A frame that is ready to be written.
#[derive(Default)]
pub(super) struct Frame {
    pub(super) bytes: Vec<u8>,
    /// The memory among the handles, and the offsets of their words in `bytes`.
    pub(super) memory: Vec<(usize, MemoryHandle)>,
}

/// A frame that came.
pub(super) struct ReceivedFrame {
    pub(super) kind: Kind,
    pub(super) id: u32,
    pub(super) request: u32,
    pub(super) handles: Vec<Handle>,
    pub(super) payload: Vec<u8>,
}

pub(super) struct Link {
    pub(super) role: Role,
    /// The process that made the link. Its forked copies have none of the link's threads.
    owner: Owner,
    closer: Closer,
    inbox: Mutex<Inbox>,
    arrived: Condvar,
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

#[derive(Default)]
struct Inbox {
    bytes: VecDeque<u8>,
    handles: VecDeque<Handle>,
    has_rung: bool,
    is_closed: bool,
}

enum Output {
    Queue(Mutex<OutputQueue>, Condvar),
    Direct(Mutex<Option<Writer>>),
}

#[derive(Default)]
struct OutputQueue {
    frames: VecDeque<Frame>,
    bytes: usize,
    is_closed: bool,
}

impl Link {
    /// Starts the threads of one side.
    pub(super) fn start(stream: Duplex, role: Role) -> io::Result<Arc<Self>> {
        let (reader, writer, closer) = stream.split()?;
        let (output, queued_writer) = match role {
            Role::Parent => (Output::Queue(Mutex::default(), Condvar::new()), Some(writer)),
            Role::Worker => (Output::Direct(Mutex::new(Some(writer))), None),
        };
        let link = Arc::new(Self {
            role,
            owner: Owner::this_process(),
            closer,
            inbox: Mutex::default(),
            arrived: Condvar::new(),
            exits_with_peer: AtomicBool::new(false),
            output,
            lent: Mutex::default(),
            ends: Mutex::default(),
            next_end: AtomicU32::new(0),
            waits: PendingWaits::default(),
            requests: Requests::default(),
        });
        if let Some(writer) = queued_writer {
            let link = Arc::clone(&link);
            thread::spawn("fanfold-writer".to_owned(), Some(1 << 17), move || link.write_queued(writer))?;
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
    /// If the other side is gone, or has not read for so long that [`MAX_QUEUED`] bytes wait for it.
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
        match &self.output {
            Output::Queue(queue, changed) => {
                let mut queue = mutex::lock(queue);
                if queue.is_closed || queue.bytes > MAX_QUEUED {
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
                queue.bytes += frame.bytes.len();
                queue.frames.push_back(frame);
                drop(queue);
                changed.notify_one();
                Ok(())
            }
            Output::Direct(writer) => {
                let mut writer = mutex::lock(writer);
                let writer = writer.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
                if NEEDS_RECEIPT {
                    let mut lent = mutex::lock(&self.lent);
                    for (_, memory) in &frame.memory {
                        lent.entry(memory.word()).or_default().push(memory.clone());
                    }
                }
                writer.write(frame)
            }
        }
    }

    fn encode(
        self: &Arc<Self>,
        (kind, id, request): (Kind, u32, u32),
        parts: &[&[u8]],
        handles: &[&Handle],
    ) -> io::Result<Frame> {
        assert!(handles.len() <= MAX_FDS_PER_MESSAGE, "more handles than one message holds");
        let len = handles.len() * ENTRY + parts.iter().map(|part| part.len()).sum::<usize>();
        let mut frame = Frame { bytes: Vec::with_capacity(HEADER + len), memory: Vec::new() };
        let bytes = &mut frame.bytes;
        bytes.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_ne_bytes());
        bytes.extend_from_slice(&[kind.0, u8::try_from(handles.len()).unwrap_or(u8::MAX), 0, 0]);
        bytes.extend_from_slice(&id.to_ne_bytes());
        bytes.extend_from_slice(&request.to_ne_bytes());
        for handle in handles {
            let (what, first, second) = match handle {
                Handle::Memory(memory) => {
                    frame.memory.push((bytes.len() + 9, memory.clone()));
                    (0, memory.len() as u64, 0)
                }
                Handle::Missing => return Err(invalid()),
                Handle::End(end) => {
                    let id = match self.role {
                        Role::Parent => self.lend(end),
                        Role::Worker => end.id_at_parent(self)?,
                    };
                    (1 + u8::from(end.direction() == Direction::Receive), u64::from(id), 0)
                }
            };
            bytes.push(what);
            bytes.extend_from_slice(&first.to_ne_bytes());
            bytes.extend_from_slice(&u64::to_ne_bytes(second));
        }
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        Ok(frame)
    }

    /// Parent: gives the worker a channel end; returns the number that names it.
    fn lend(&self, end: &End) -> u32 {
        let id = self.next_end.fetch_add(1, Ordering::Relaxed);
        // A link that has closed takes no more ends: `finish` has dropped those that it had.
        let mut ends = mutex::lock(&self.ends);
        if !mutex::lock(&self.inbox).is_closed {
            ends.insert(id, end.clone());
        }
        id
    }

    /// Takes bytes that came, and the handles that came with them; 0 if the other side is gone. Waits for them.
    pub(super) fn take(&self, bytes: &mut [u8], handles: &mut VecDeque<Handle>, wait: bool) -> io::Result<usize> {
        let mut inbox = mutex::lock(&self.inbox);
        while inbox.bytes.is_empty() && !inbox.is_closed {
            if !wait {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            inbox = mutex::wait(&self.arrived, inbox);
        }
        handles.append(&mut inbox.handles);
        let len = bytes.len().min(inbox.bytes.len());
        for (byte, came) in bytes.iter_mut().zip(inbox.bytes.drain(..len)) {
            *byte = came;
        }
        Ok(len)
    }

    /// Waits until bytes came or the other side is gone; `false` at the deadline.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> bool {
        let mut inbox = mutex::lock(&self.inbox);
        while inbox.bytes.is_empty() && !inbox.is_closed {
            let Some(next) = wait_until(&self.arrived, inbox, deadline) else { return false };
            inbox = next;
        }
        true
    }

    /// Waits for a handle that the other side says it has sent. A worker believes its parent; a parent gives up after
    /// [`HANDLE_TIMEOUT`].
    pub(super) fn wait_for_handle(&self) {
        let deadline = (self.role == Role::Parent).then(|| Instant::now() + HANDLE_TIMEOUT);
        let mut inbox = mutex::lock(&self.inbox);
        while inbox.handles.is_empty() && !inbox.is_closed {
            let Some(next) = wait_until(&self.arrived, inbox, deadline) else { return };
            inbox = next;
        }
    }

    /// Worker: sleeps until the parent rings.
    pub(super) fn sleep(&self) {
        let mut inbox = mutex::lock(&self.inbox);
        while !inbox.has_rung && !inbox.is_closed {
            inbox = mutex::wait(&self.arrived, inbox);
        }
        inbox.has_rung = false;
    }

    /// Worker: from now on this process exits when its parent is gone.
    pub(super) fn exit_with_peer(&self) {
        self.exits_with_peer.store(true, Ordering::SeqCst);
        if mutex::lock(&self.inbox).is_closed {
            exit_now();
        }
    }

    /// Ends the connection. The other side gets what was written.
    pub(super) fn close(&self) {
        // A forked copy has the same socket, and its parent goes on.
        if !self.owner.is_this_process() {
            return;
        }
        match &self.output {
            Output::Queue(queue, changed) => {
                mutex::lock(queue).is_closed = true;
                changed.notify_one();
            }
            Output::Direct(writer) => drop(mutex::lock(writer).take()),
        }
        self.closer.close();
    }

    fn write_queued(&self, mut writer: Writer) {
        let Output::Queue(queue, changed) = &self.output else { return };
        loop {
            let mut waiting = mutex::lock(queue);
            while waiting.frames.is_empty() && !waiting.is_closed {
                waiting = mutex::wait(changed, waiting);
            }
            let Some(frame) = waiting.frames.pop_front() else { return };
            waiting.bytes -= frame.bytes.len();
            drop(waiting);
            if writer.write(frame).is_err() {
                break;
            }
        }
        let left = {
            let mut queue = mutex::lock(queue);
            queue.is_closed = true;
            std::mem::take(&mut queue.frames)
        };
        drop(left);
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

    /// The next whole frame at the front of `bytes`.
    fn decode(self: &Arc<Self>, bytes: &mut &[u8], reader: &mut Reader) -> io::Result<Option<ReceivedFrame>> {
        let Some((header, rest)) = bytes.split_at_checked(HEADER) else { return Ok(None) };
        let word = |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (len, kind, count) = (word(0) as usize, Kind(header[4]), usize::from(header[5]));
        if len > MAX_FRAME || count > MAX_FDS_PER_MESSAGE || len < count * ENTRY {
            return Err(invalid());
        }
        let Some((body, rest)) = rest.split_at_checked(len) else { return Ok(None) };
        let (entries, payload) = body.split_at(count * ENTRY);
        let mut handles = Vec::with_capacity(count);
        for entry in entries.chunks_exact(ENTRY) {
            let word = |at: usize| entry[at..at + 8].try_into().map(u64::from_ne_bytes).map_err(|_| invalid());
            let (first, second) = (word(1)?, word(9)?);
            handles.push(match (entry[0], self.role) {
                (0, _) => {
                    let memory = reader.take_memory(second, usize::try_from(first).map_err(|_| invalid())?);
                    if NEEDS_RECEIPT && self.role == Role::Parent {
                        self.send((Kind::RECEIPT, 0, 0), &[&second.to_ne_bytes()], &[])?;
                    }
                    memory.map_or(Handle::Missing, Handle::Memory)
                }
                (1 | 2, Role::Parent) => {
                    let id = u32::try_from(first).map_err(|_| invalid())?;
                    let end = mutex::lock(&self.ends).get(&id).cloned().ok_or_else(invalid)?;
                    Handle::End(end)
                }
                (what @ (1 | 2), Role::Worker) => {
                    let id = u32::try_from(first).map_err(|_| invalid())?;
                    let direction = if what == 1 { Direction::Send } else { Direction::Receive };
                    Handle::End(End::at_parent(Arc::clone(self), id, direction))
                }
                _ => return Err(invalid()),
            });
        }
        reader.end_frame();
        let frame = ReceivedFrame { kind, id: word(8), request: word(12), handles, payload: payload.to_vec() };
        *bytes = rest;
        Ok(Some(frame))
    }

    fn handle(self: &Arc<Self>, frame: ReceivedFrame) -> io::Result<()> {
        match (frame.kind, self.role) {
            (Kind::MESSAGE, _) => {
                let mut inbox = mutex::lock(&self.inbox);
                inbox.bytes.extend(frame.payload);
                inbox.handles.extend(frame.handles);
                if inbox.bytes.len() > MAX_UNREAD_BYTES || inbox.handles.len() > MAX_UNREAD_HANDLES {
                    return Err(invalid());
                }
                drop(inbox);
                self.arrived.notify_all();
            }
            (Kind::DOORBELL, Role::Worker) => {
                mutex::lock(&self.inbox).has_rung = true;
                self.arrived.notify_all();
            }
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
        mutex::lock(&self.inbox).is_closed = true;
        self.arrived.notify_all();
        self.close();
        self.waits.cancel_all();
        let ends = std::mem::take(&mut *mutex::lock(&self.ends));
        drop(ends);
        self.requests.fail_all();
    }
}

/// The error of a frame that a sound process does not send.
pub(super) fn invalid() -> io::Error {
    io::Error::other("what came cannot be read")
}

/// Waits on a condition variable, for ever or until the deadline; `None` at the deadline.
pub(super) fn wait_until<'a, T>(
    changed: &Condvar,
    guard: MutexGuard<'a, T>,
    deadline: Option<Instant>,
) -> Option<MutexGuard<'a, T>> {
    let Some(deadline) = deadline else {
        return Some(mutex::wait(changed, guard));
    };
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return None;
    }
    Some(mutex::wait_timeout(changed, guard, left).0)
}
