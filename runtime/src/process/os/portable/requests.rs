//! Channel ends in a worker, whose channel is at the parent: their requests, and how the parent answers them.
//!
//! The parent answers each request at once: one that would have to wait gets the answer so. A request to wait, or to
//! receive the next message, is answered when the end is ready, or closed. So the parent's thread that reads from one
//! worker never waits for another one.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use super::Handle;
use super::end::{End, WatchId};
use super::frame::{Kind, ReceivedFrame, invalid};
use super::inbox::wait_until;
use super::link::Link;
use super::pipe::Message;
use crate::sys::mutex;

/// The number of a request of a worker.
pub(super) type RequestId = u32;

/// The first byte of a reply.
mod status {
    pub(super) const DONE: u8 = 0;
    pub(super) const WOULD_BLOCK: u8 = 1;
    pub(super) const CLOSED: u8 = 2;
}

/// The waits of a worker that its parent remembers, at most: one for each thread and async task.
const MAX_WAITS: usize = 1 << 16;

/// The channel ends of a worker at most.
const MAX_ENDS: usize = 1 << 16;

/// The bit of the numbers that a worker gives to the ends of its own channels.
const WORKERS: u32 = 1 << 31;

/// Worker: the requests without a reply.
#[derive(Default)]
pub(super) struct Requests {
    next: AtomicU32,
    next_channel: AtomicU32,
    pending: Mutex<HashMap<RequestId, Pending>>,
    answered: Condvar,
}

enum Pending {
    Thread(Option<(u8, Message)>),
    Call(Box<dyn FnOnce() + Send>),
}

impl Requests {
    pub(super) fn answer(&self, mut frame: ReceivedFrame) {
        let mut pending = mutex::lock(&self.pending);
        match pending.remove(&frame.request) {
            Some(Pending::Thread(_)) => {
                let status = frame.payload.first().copied().unwrap_or(status::CLOSED);
                frame.payload.drain(..1.min(frame.payload.len()));
                let message = Message { bytes: frame.payload, handles: frame.handles };
                pending.insert(frame.request, Pending::Thread(Some((status, message))));
                drop(pending);
                self.answered.notify_all();
            }
            Some(Pending::Call(call)) => {
                drop(pending);
                call();
            }
            // The thread has stopped waiting.
            None => {}
        }
    }

    /// The parent is gone: no request will be answered.
    pub(super) fn fail_all(&self) {
        let mut pending = mutex::lock(&self.pending);
        let mut calls = Vec::new();
        pending.retain(|_, one| match one {
            Pending::Thread(answer) => {
                answer.get_or_insert((status::CLOSED, Message::default()));
                true
            }
            Pending::Call(call) => {
                calls.push(std::mem::replace(call, Box::new(|| {})));
                false
            }
        });
        drop(pending);
        self.answered.notify_all();
        calls.into_iter().for_each(|call| call());
    }
}

/// Parent: the waits of a worker, with the end that each watches. `None` while the watch is being made.
#[derive(Default)]
pub(super) struct PendingWaits(Mutex<HashMap<RequestId, Option<(End, WatchId)>>>);

impl PendingWaits {
    pub(super) fn cancel_all(&self) {
        let waits = std::mem::take(&mut *mutex::lock(&self.0));
        for (end, id) in waits.into_values().flatten() {
            end.unwatch(&id);
        }
    }

    fn cancel(&self, request: RequestId) {
        let wait = mutex::lock(&self.0).remove(&request).flatten();
        if let Some((end, id)) = wait {
            end.unwatch(&id);
        }
    }
}

impl Link {
    /// Worker: sends what needs no answer. If the parent is gone, nothing needs it.
    pub(super) fn tell(self: &Arc<Self>, kind: Kind, id: u32, request: RequestId) {
        let _ = self.send((kind, id, request), &[], &[]);
    }

    /// Worker: numbers for the two ends of a channel of this process.
    pub(super) fn new_ids(&self) -> [u32; 2] {
        let id = self.requests.next_channel.fetch_add(2, Ordering::Relaxed) | WORKERS;
        [id, id + 1]
    }

    fn begin(&self, pending: Pending) -> RequestId {
        let request = self.requests.next.fetch_add(1, Ordering::Relaxed);
        mutex::lock(&self.requests.pending).insert(request, pending);
        request
    }

    /// Sends a request, and waits for the reply; `None` at the deadline.
    fn ask(
        self: &Arc<Self>,
        (kind, id): (Kind, u32),
        parts: &[&[u8]],
        handles: &[&Handle],
        deadline: Option<Instant>,
    ) -> io::Result<Option<(u8, Message)>> {
        let request = self.begin(Pending::Thread(None));
        if let Err(error) = self.send((kind, id, request), parts, handles) {
            mutex::lock(&self.requests.pending).remove(&request);
            return Err(error);
        }
        let mut pending = mutex::lock(&self.requests.pending);
        loop {
            match pending.get_mut(&request) {
                Some(Pending::Thread(answer)) if answer.is_some() => {
                    let answer = answer.take();
                    pending.remove(&request);
                    return Ok(answer);
                }
                Some(_) => {}
                None => return Err(io::ErrorKind::BrokenPipe.into()),
            }
            match wait_until(&self.requests.answered, pending, deadline) {
                Some(next) => pending = next,
                None => break,
            }
        }
        self.cancel(request);
        Ok(None)
    }

    pub(super) fn request_send(self: &Arc<Self>, id: u32, parts: &[&[u8]], handles: &[&Handle]) -> io::Result<()> {
        match self.ask((Kind::SEND, id), parts, handles, None)? {
            Some((status::DONE, _)) => Ok(()),
            Some((status::WOULD_BLOCK, _)) => Err(io::ErrorKind::WouldBlock.into()),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Receives a message; waits for it, or fails with `WouldBlock` if `wait` is false.
    pub(super) fn request_receive(self: &Arc<Self>, id: u32, wait: bool) -> io::Result<Option<Message>> {
        let kind = if wait { Kind::RECEIVE_NEXT } else { Kind::RECEIVE };
        match self.ask((kind, id), &[], &[], None)? {
            Some((status::DONE, message)) => Ok(Some(message)),
            Some((status::WOULD_BLOCK, _)) => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(None),
        }
    }

    /// Waits until an end is ready or closed; `false` at the deadline.
    pub(super) fn request_wait(self: &Arc<Self>, id: u32, deadline: Option<Instant>) -> io::Result<bool> {
        self.ask((Kind::WAIT, id), &[], &[], deadline).map(|answer| answer.is_some())
    }

    /// Calls `call` when an end is ready or closed.
    pub(super) fn request_watch(self: &Arc<Self>, id: u32, call: Box<dyn FnOnce() + Send>) -> io::Result<RequestId> {
        let request = self.begin(Pending::Call(call));
        self.send((Kind::WAIT, id, request), &[], &[])?;
        Ok(request)
    }

    /// Ends a wait that was not answered.
    pub(super) fn cancel(self: &Arc<Self>, request: RequestId) {
        let pending = mutex::lock(&self.requests.pending).remove(&request);
        if pending.is_some() {
            self.tell(Kind::CANCEL, 0, request);
        }
        drop(pending);
    }

    /// Parent: answers a request.
    ///
    /// # Errors
    ///
    /// If it is none that a sound worker makes.
    pub(super) fn serve(self: &Arc<Self>, frame: ReceivedFrame) -> io::Result<()> {
        let ReceivedFrame { kind, id, request, handles, payload } = frame;
        match kind {
            Kind::SEND => {
                let handles: Vec<&Handle> = handles.iter().collect();
                let status = match self.end(id)?.try_send(&[&payload], &handles) {
                    Ok(()) => status::DONE,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => status::WOULD_BLOCK,
                    Err(_) => status::CLOSED,
                };
                self.reply(request, status)
            }
            Kind::RECEIVE | Kind::RECEIVE_NEXT => self.serve_receive(kind, id, request),
            Kind::WAIT => self.serve_wait(self.end(id)?, request, move |link| {
                // A worker that is gone needs no answer.
                let _ = link.reply(request, status::DONE);
            }),
            Kind::CANCEL => {
                self.waits.cancel(request);
                Ok(())
            }
            Kind::CLOSE => {
                self.end(id)?.close();
                Ok(())
            }
            Kind::DROP => {
                let end = mutex::lock(&self.ends).remove(&id);
                drop(end);
                Ok(())
            }
            Kind::ADOPT if request == 0 && id & WORKERS != 0 && id.is_multiple_of(2) => {
                let (send, receive) = End::pair();
                let mut ends = mutex::lock(&self.ends);
                if ends.len() >= MAX_ENDS {
                    return Err(invalid());
                }
                let before = [ends.insert(id, send), ends.insert(id + 1, receive)];
                drop(ends);
                drop(before);
                Ok(())
            }
            // A message of a channel that comes with it. More than a channel holds came from no sound worker.
            Kind::ADOPT => {
                let handles: Vec<&Handle> = handles.iter().collect();
                self.end(id)?.try_send(&[&payload], &handles).map_err(|_| invalid())
            }
            _ => Err(invalid()),
        }
    }

    fn reply(self: &Arc<Self>, request: RequestId, status: u8) -> io::Result<()> {
        self.send((Kind::REPLY, 0, request), &[&[status]], &[])
    }

    fn serve_receive(self: &Arc<Self>, kind: Kind, id: u32, request: RequestId) -> io::Result<()> {
        let end = self.end(id)?;
        match end.try_receive() {
            Ok(Some(message)) => {
                let handles: Vec<&Handle> = message.handles.iter().collect();
                let parts: [&[u8]; 2] = [&[status::DONE], &message.bytes];
                let sent = self.send((Kind::REPLY, 0, request), &parts, &handles);
                if sent.is_err() {
                    end.put_back(message);
                }
                sent
            }
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => self.reply(request, status::CLOSED),
            Ok(None) => self.reply(request, status::CLOSED),
            Err(_) if kind == Kind::RECEIVE => self.reply(request, status::WOULD_BLOCK),
            // Another receiver may be faster; then this one waits again. An end that the worker has dropped since, or
            // a worker that is gone, needs no message.
            Err(_) => self.serve_wait(end, request, move |link| _ = link.serve_receive(kind, id, request)),
        }
    }

    /// Calls `then` when an end is ready, unless the request was cancelled before.
    fn serve_wait(
        self: &Arc<Self>,
        end: End,
        request: RequestId,
        then: impl FnOnce(&Arc<Self>) + Send + 'static,
    ) -> io::Result<()> {
        {
            let mut waits = mutex::lock(&self.waits.0);
            if waits.len() >= MAX_WAITS || waits.insert(request, None).is_some() {
                return Err(invalid());
            }
        }
        let link = Arc::downgrade(self);
        let watch = end.watch(Box::new(move || {
            if let Some(link) = link.upgrade() {
                let wait = mutex::lock(&link.waits.0).remove(&request);
                drop(wait);
                then(&link);
            }
        }))?;
        // The call may have been made already. It has removed the entry then, or has replaced it, if it waits again.
        if let Some(entry @ None) = mutex::lock(&self.waits.0).get_mut(&request) {
            *entry = Some((end, watch));
        }
        Ok(())
    }
}
