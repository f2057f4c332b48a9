//! [`Serving`]: what an entry of the table of functions answers: a request in the worker process, with its arguments to
//! read and its results to write, or a call of another machine.

use std::time::Duration;

use super::backend::Answer;
use super::codec::{CodecError, Decoder, Encoder, begin_part, end_part};
use super::message::{Connection, prepend_attachment_table};
use crate::error::TaskError;
use crate::process::transport::ring::{Corrupt, FrameWords, MAX_PAYLOAD, OpenReply, Rings};
use crate::sys::clock::Moment;
use crate::sys::owner::{exit_if_forked_worker, exit_if_vforked_worker, exit_now};

/// The interval at which a worker checks whether its parent has released segments.
const SEGMENT_POLL_INTERVAL: Duration = Duration::from_micros(100);

/// The statuses of replies.
pub(crate) mod status {
    /// The reply has results.
    pub(crate) const DONE: u32 = 0;
    /// The function panicked; the reply has its message and location.
    pub(crate) const PANICKED: u32 = 1;
    /// The state of the worker could not be made; the reply has the reason.
    pub(crate) const INIT: u32 = 2;
    /// Arguments or a result could not be read or written; the reply has the reason.
    pub(crate) const CODEC: u32 = 3;
}

/// The header of a reply, which the three words of its frame hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplyHeader {
    /// One of the values in [`status`].
    pub(crate) status: u32,
    /// The number of results.
    pub(crate) count: u32,
    /// The number of the request that the reply answers.
    pub(crate) request: u32,
    /// The attachment word, as [`prepend_attachment_table`] returns it.
    pub(crate) attachment_word: u32,
}

impl ReplyHeader {
    /// The number of low bits that hold the count, which is at most `u16::MAX`. The status is in the bits above.
    const STATUS: u32 = 16;

    pub(crate) fn to_words(self) -> FrameWords {
        [self.status << Self::STATUS | self.count, self.request, self.attachment_word]
    }

    pub(crate) fn from_words([first, request, attachment_word]: FrameWords) -> Self {
        Self { status: first >> Self::STATUS, count: first & ((1 << Self::STATUS) - 1), request, attachment_word }
    }
}

/// What an entry of the table of functions answers.
pub enum Serving<'a> {
    /// In a worker process: a request of the parent.
    Worker(WorkerRequest<'a>),
    /// In the process that starts workers: a call of another machine.
    Encoded(EncodedCall<'a>),
}

/// A call of another machine, which a worker process of this one runs.
pub struct EncodedCall<'a> {
    pub(crate) call: &'a Answer<'a>,
    /// The encoded result.
    pub(crate) outcome: Option<Result<Vec<u8>, TaskError>>,
}

/// A request that the worker is answering.
pub struct WorkerRequest<'a> {
    pub(crate) input: Decoder<'a>,
    pub(crate) replies: ReplyWriter<'a>,
}

impl WorkerRequest<'_> {
    /// Reads the arguments of the next call.
    #[inline]
    pub(crate) fn arguments<A>(
        &mut self,
        read: impl FnOnce(&mut Decoder<'_>) -> Result<A, CodecError>,
    ) -> Result<A, CodecError> {
        self.input.part("they were not read to their end", read)
    }

    /// Ends the request because its arguments or results could not be read or written.
    pub(crate) fn refuse(&mut self, why: &str) {
        self.replies.fail(status::CODEC, &(why, ""));
    }

    /// Ends the request with the error of a call.
    pub(crate) fn fail(&mut self, error: &TaskError) {
        let (status, message, place) = match error {
            TaskError::Panicked { message, location, .. } => {
                (status::PANICKED, message.as_str(), location.as_deref().unwrap_or_default())
            }
            TaskError::Init { message } => (status::INIT, message.as_str(), ""),
            TaskError::Wire { message, .. } => (status::CODEC, message.as_str(), ""),
            other => return self.fail(&TaskError::Init { message: other.to_string() }),
        };
        self.replies.fail(status, &(message, place));
    }
}

/// A request that took less time than this, in nanoseconds, has not called `vfork`, which takes 14 us on a fast
/// machine.
const MIN_VFORK_NS: u64 = 5_000;

/// Writes the replies of a worker process.
///
/// Only the process that was started as the worker may answer. A task may fork and return here in both processes, for
/// example if an `exec` fails. The copy ends itself before it writes to anything that it shares with the worker:
/// segments, rings, and socket.
pub(crate) struct ReplyWriter<'a> {
    pub(crate) rings: &'a Rings,
    pub(crate) connection: &'a mut Connection,
    /// The result that is being written.
    pub(crate) scratch: &'a mut Vec<u8>,
    pub(crate) open: Option<(OpenReply, usize)>,
    /// The calls of the request that are not answered yet.
    pub(crate) left: u32,
    /// The number of the request, which each reply repeats.
    pub(crate) request: u32,
    /// The time at which the request was begun.
    pub(crate) begun: Moment,
}

impl ReplyWriter<'_> {
    /// Answers one call with its result.
    pub(crate) fn result(
        &mut self,
        write: impl FnOnce(&mut Encoder<'_>) -> Result<(), CodecError>,
    ) -> Result<(), CodecError> {
        exit_if_forked_worker();
        if self.connection.outbox.should_wait() {
            self.wait_for_segments();
        }
        self.scratch.clear();
        let start = begin_part(self.scratch);
        let mut attachments = Vec::new();
        let written = write(&mut Encoder::new(self.scratch, &mut attachments, Some(&mut self.connection.outbox)));
        // `write` runs code of the user, which may fork as well.
        exit_if_forked_worker();
        let packed = match written {
            Ok(()) if attachments.is_empty() && self.scratch.len() <= MAX_PAYLOAD => {
                end_part(&mut self.scratch[start..]);
                self.append();
                self.left -= 1;
                return Ok(());
            }
            Ok(()) => prepend_attachment_table(self.scratch, &mut attachments, &mut self.connection.outbox),
            Err(error) => Err(error),
        };
        match packed {
            Ok(attachment_word) => {
                self.flush();
                if self.connection.send_descriptors(&attachments).is_err() {
                    exit_now();
                }
                self.post(status::DONE, attachment_word);
                self.left -= 1;
                Ok(())
            }
            Err(error) => {
                self.connection.recall(&attachments);
                Err(error)
            }
        }
    }

    /// Waits until the parent has released segments, which it does as it takes the replies.
    #[cold]
    fn wait_for_segments(&mut self) {
        while self.connection.outbox.should_wait() {
            self.flush();
            ring_doorbell(self.rings, self.connection);
            std::thread::sleep(SEGMENT_POLL_INTERVAL);
        }
    }

    /// Appends the result in `scratch` to the open reply, or to a new one if it does not fit.
    fn append(&mut self) {
        loop {
            if let Some((reply, room)) = &mut self.open {
                if self.rings.append_result(reply, self.scratch, *room) {
                    return;
                }
                self.flush();
            }
            // Reserve space for the results to come, assuming that they have the size of this one.
            let expected = self.scratch.len().saturating_mul(self.left as usize + 1);
            let room = expected.clamp(self.scratch.len(), MAX_PAYLOAD);
            self.open = Some((self.reserve(room), room));
        }
    }

    fn reserve(&mut self, room: usize) -> OpenReply {
        self.wait_until_space(room, |replies| replies.rings.reserve_reply(room))
    }

    /// Repeats `take` until there is space for `room` bytes of payload in the ring.
    fn wait_until_space<T>(&mut self, room: usize, take: impl Fn(&Self) -> Result<Option<T>, Corrupt>) -> T {
        loop {
            match take(self) {
                Ok(Some(taken)) => return taken,
                Ok(None) => {}
                // The task has overwritten the shared memory, so nothing in it can be trusted.
                Err(_) => exit_now(),
            }
            ring_doorbell(self.rings, self.connection);
            self.rings.wait_for_reply_space(room);
        }
    }

    /// Publishes the open reply.
    pub(crate) fn flush(&mut self) {
        self.end_forked_copies();
        if let Some((reply, _)) = self.open.take()
            && reply.count() > 0
        {
            self.rings.publish_open_reply(&reply, self.header(status::DONE, reply.count(), 0).to_words());
        }
    }

    /// Ends this process if it is a forked copy of the worker.
    fn end_forked_copies(&self) {
        exit_if_forked_worker();
        if Moment::now().since(self.begun) > MIN_VFORK_NS {
            exit_if_vforked_worker();
        }
    }

    fn header(&self, status: u32, count: u32, attachment_word: u32) -> ReplyHeader {
        ReplyHeader { status, count, request: self.request, attachment_word }
    }

    /// Ends the request: the calls that are left have no results.
    fn fail(&mut self, status: u32, why: &(&str, &str)) {
        // In a forked copy of the worker this ends the process.
        self.flush();
        // A text of megabytes does not help a reader.
        let cut = |text: &str| text.chars().take(8_000).collect::<String>();
        let why = (cut(why.0), cut(why.1));
        self.scratch.clear();
        let mut attachments = Vec::new();
        let mut encoder = Encoder::new(self.scratch, &mut attachments, Some(&mut self.connection.outbox));
        // A pair of strings can always be encoded, so this does not fail.
        let _ = encoder.value(&why);
        self.post(status, 0);
        self.left = 0;
    }

    fn post(&mut self, status: u32, attachment_word: u32) {
        let words = self.header(status, 1, attachment_word).to_words();
        self.wait_until_space(self.scratch.len(), |replies| replies.rings.write_reply(words, &replies.scratch[..]));
    }
}

/// Wakes the parent if it sleeps.
pub(crate) fn ring_doorbell(rings: &Rings, connection: &Connection) {
    if rings.wake_parent() && connection.wake_peer().is_err() {
        exit_now();
    }
}
