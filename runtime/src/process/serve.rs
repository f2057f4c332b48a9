//! A request in the worker, as the function's entry sees it: arguments to read, results to write.

use std::time::Duration;

use super::codec::{CodecError, Decoder, Encoder, begin_part, end_part};
use super::message::{Connection, prepend_attachment_table};
use crate::error::TaskError;
use crate::process::transport::ring::{Corrupt, FrameWords, MAX_PAYLOAD, OpenReply, Rings};
use crate::sys::clock::Moment;
use crate::sys::owner::{end_copy_of_worker, end_now, end_vfork_of_worker};

/// How often a worker looks whether its parent has taken some of many large results.
const SEGMENT_POLL_INTERVAL: Duration = Duration::from_micros(100);

/// What a reply says, in its first attachment_word.
pub(crate) mod status {
    /// Results.
    pub(crate) const DONE: u32 = 0;
    /// The function panicked: its message, and the place.
    pub(crate) const PANICKED: u32 = 1;
    /// The worker's state could not be made: why.
    pub(crate) const INIT: u32 = 2;
    /// Arguments or a result could not cross: why.
    pub(crate) const CODEC: u32 = 3;
}

/// What a reply's frame says beside its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplyHeader {
    /// One of [`status`].
    pub(crate) status: u32,
    /// Results in it.
    pub(crate) count: u32,
    /// The number of the request that it answers.
    pub(crate) request: u32,
    /// Its attachments, as [`prepend_attachment_table`] gives them.
    pub(crate) attachment_word: u32,
}

impl ReplyHeader {
    /// The status stands above the count, which an open reply has 16 bits for.
    const STATUS: u32 = 16;

    pub(crate) fn to_words(self) -> FrameWords {
        [self.status << Self::STATUS | self.count, self.request, self.attachment_word]
    }

    pub(crate) fn from_words([first, request, attachment_word]: FrameWords) -> Self {
        Self { status: first >> Self::STATUS, count: first & ((1 << Self::STATUS) - 1), request, attachment_word }
    }
}

/// A request that is being answered.
pub struct Serving<'a> {
    pub(crate) input: Decoder<'a>,
    pub(crate) replies: ReplyWriter<'a>,
}

impl Serving<'_> {
    /// Reads the arguments of the next call.
    #[inline]
    pub(crate) fn arguments<A>(
        &mut self,
        read: impl FnOnce(&mut Decoder<'_>) -> Result<A, CodecError>,
    ) -> Result<A, CodecError> {
        self.input.part("they were not read to their end", read)
    }

    /// Says why the request cannot be answered.
    pub(crate) fn refuse(&mut self, why: &str) {
        self.replies.fail(status::CODEC, &(why, ""));
    }

    /// Says how a call has failed.
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

/// A request that took less, in nanoseconds, has not called `vfork`, which takes 14 us on a fast machine.
const MIN_VFORK_NS: u64 = 5_000;

/// Where a worker writes its replies.
///
/// Only the process that was started as the worker may answer. A task may fork, by code whose `exec` fails for example,
/// and return here in both processes. The copy ends itself before it writes to anything that it shares with the worker:
/// the result's attachments, the ring, the socket.
pub(crate) struct ReplyWriter<'a> {
    pub(crate) rings: &'a Rings,
    pub(crate) connection: &'a mut Connection,
    /// A result on its way to the ring.
    pub(crate) scratch: &'a mut Vec<u8>,
    pub(crate) open: Option<(OpenReply, usize)>,
    /// Calls of the request that were not answered yet.
    pub(crate) left: u32,
    /// The request's number, which each reply repeats.
    pub(crate) request: u32,
    /// When the request was begun.
    pub(crate) begun: Moment,
}

impl ReplyWriter<'_> {
    /// Answers one call.
    pub(crate) fn result(
        &mut self,
        write: impl FnOnce(&mut Encoder<'_>) -> Result<(), CodecError>,
    ) -> Result<(), CodecError> {
        end_copy_of_worker();
        if self.connection.outbox.should_wait() {
            self.wait_for_segments();
        }
        self.scratch.clear();
        let start = begin_part(self.scratch);
        let mut attachments = Vec::new();
        let written = write(&mut Encoder {
            bytes: self.scratch,
            attachments: &mut attachments,
            outbox: Some(&mut self.connection.outbox),
        });
        // Writing runs the user's code, too.
        end_copy_of_worker();
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
                    end_now(); // The parent is gone.
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

    /// Waits until the parent has given attachments back: it does so as it takes the replies that have them.
    #[cold]
    fn wait_for_segments(&mut self) {
        while self.connection.outbox.should_wait() {
            self.flush();
            ring_doorbell(self.rings, self.connection);
            std::thread::sleep(SEGMENT_POLL_INTERVAL);
        }
    }

    /// Adds the result in the scratch to the open reply; the place of which it may not get twice.
    fn append(&mut self) {
        loop {
            if let Some((place, room)) = &mut self.open {
                if self.rings.append_result(place, self.scratch, *room) {
                    return;
                }
                self.flush();
            }
            // Room for the results that are to come, if they are like this one.
            let expected = self.scratch.len().saturating_mul(self.left as usize + 1);
            let room = expected.clamp(self.scratch.len(), MAX_PAYLOAD);
            self.open = Some((self.reserve(room), room));
        }
    }

    fn reserve(&mut self, room: usize) -> OpenReply {
        self.wait_until_space(room, |replies| replies.rings.reserve_reply(room))
    }

    /// Waits for room for so many bytes of payload, until `take` finds it.
    fn wait_until_space<T>(&mut self, room: usize, take: impl Fn(&Self) -> Result<Option<T>, Corrupt>) -> T {
        loop {
            match take(self) {
                Ok(Some(taken)) => return taken,
                Ok(None) => {}
                // The task has written where it must not, and nothing here can be believed any more.
                Err(_) => end_now(),
            }
            ring_doorbell(self.rings, self.connection);
            self.rings.wait_for_reply_space(room);
        }
    }

    /// Ends the open reply.
    pub(crate) fn flush(&mut self) {
        self.end_forked_copies();
        if let Some((place, _)) = self.open.take()
            && place.count() > 0
        {
            self.rings.publish_open_reply(&place, self.header(status::DONE, place.count(), 0).to_words());
        }
    }

    /// Ends this process if it is not the worker's.
    fn end_forked_copies(&self) {
        end_copy_of_worker();
        if Moment::now().since(self.begun) > MIN_VFORK_NS {
            end_vfork_of_worker();
        }
    }

    fn header(&self, status: u32, count: u32, attachment_word: u32) -> ReplyHeader {
        ReplyHeader { status, count, request: self.request, attachment_word }
    }

    /// Ends the request without a result for what is left of it.
    fn fail(&mut self, status: u32, why: &(&str, &str)) {
        // As the copy of a worker, this process ends here.
        self.flush();
        // A message is for people; one of megabytes helps nobody.
        let cut = |text: &str| text.chars().take(8_000).collect::<String>();
        let why = (cut(why.0), cut(why.1));
        self.scratch.clear();
        let mut attachments = Vec::new();
        let mut encoder =
            Encoder { bytes: self.scratch, attachments: &mut attachments, outbox: Some(&mut self.connection.outbox) };
        // Two strings always have a serial form.
        let _ = encoder.value(&why);
        self.post(status, 0);
        self.left = 0;
    }

    fn post(&mut self, status: u32, attachment_word: u32) {
        let words = self.header(status, 1, attachment_word).to_words();
        self.wait_until_space(self.scratch.len(), |replies| replies.rings.write_reply(words, &replies.scratch[..]));
    }
}

/// Wakes the parent's thread if it sleeps.
pub(crate) fn ring_doorbell(rings: &Rings, connection: &Connection) {
    if rings.wake_parent() && connection.wake_peer().is_err() {
        end_now(); // The parent is gone.
    }
}
