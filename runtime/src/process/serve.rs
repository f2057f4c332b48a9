//! A request in the worker, as the function's entry sees it: arguments to read, results to write.

use std::time::Duration;

use super::codec::{Decoder, Encoder, Misfit, begin_part, end_part};
use super::message::{Mail, pack};
use crate::error::TaskError;
use crate::process::transport::ring::{Corrupt, LARGEST, Place, Shared, Words};
use crate::sys::clock::Moment;
use crate::sys::owner::{exit_if_forked_worker, exit_if_vforked_worker, exit_now};

/// How often a worker looks whether its parent has taken some of many large results.
const PAUSE: Duration = Duration::from_micros(100);

/// What a reply says, in its first word.
pub(crate) mod status {
    /// Results.
    pub(crate) const DONE: u32 = 0;
    /// The function panicked: its message, and the place.
    pub(crate) const PANICKED: u32 = 1;
    /// The worker's state could not be made: why.
    pub(crate) const INIT: u32 = 2;
    /// Arguments or a result could not cross: why.
    pub(crate) const MISFIT: u32 = 3;
}

/// What a reply's frame says beside its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heading {
    /// One of [`status`].
    pub(crate) status: u32,
    /// Results in it.
    pub(crate) count: u32,
    /// The number of the request that it answers.
    pub(crate) request: u32,
    /// Its blocks, as [`pack`] gives them.
    pub(crate) word: u32,
}

impl Heading {
    /// The status stands above the count, which an open reply has 16 bits for.
    const STATUS: u32 = 16;

    pub(crate) fn to_words(self) -> Words {
        [self.status << Self::STATUS | self.count, self.request, self.word]
    }

    pub(crate) fn from_words([first, request, word]: Words) -> Self {
        Self { status: first >> Self::STATUS, count: first & ((1 << Self::STATUS) - 1), request, word }
    }
}

/// A request that is being answered.
pub struct Serving<'a> {
    pub(crate) input: Decoder<'a>,
    pub(crate) replies: Replies<'a>,
}

impl Serving<'_> {
    /// Reads the arguments of the next call.
    #[inline]
    pub(crate) fn arguments<A>(
        &mut self,
        read: impl FnOnce(&mut Decoder<'_>) -> Result<A, Misfit>,
    ) -> Result<A, Misfit> {
        self.input.part("they were not read to their end", read)
    }

    /// Says why the request cannot be answered.
    pub(crate) fn refuse(&mut self, why: &str) {
        self.replies.fail(status::MISFIT, &(why, ""));
    }

    /// Says how a call has failed.
    pub(crate) fn fail(&mut self, error: &TaskError) {
        let (status, message, place) = match error {
            TaskError::Panicked { message, location, .. } => {
                (status::PANICKED, message.as_str(), location.as_deref().unwrap_or_default())
            }
            TaskError::Init { message } => (status::INIT, message.as_str(), ""),
            TaskError::Wire { message, .. } => (status::MISFIT, message.as_str(), ""),
            other => return self.fail(&TaskError::Init { message: other.to_string() }),
        };
        self.replies.fail(status, &(message, place));
    }
}

/// A request that took less, in nanoseconds, has not called `vfork`, which takes 14 us on a fast machine.
const VFORK_NS: u64 = 5_000;

/// Where a worker writes its replies.
///
/// Only the process that was started as the worker may answer. A task may fork, by code whose `exec` fails for example,
/// and return here in both processes. The copy ends itself before it writes to anything that it shares with the worker:
/// the result's blocks, the ring, the socket.
pub(crate) struct Replies<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) mail: &'a mut Mail,
    /// A result on its way to the ring.
    pub(crate) scratch: &'a mut Vec<u8>,
    pub(crate) open: Option<(Place, usize)>,
    /// Calls of the request that were not answered yet.
    pub(crate) left: u32,
    /// The request's number, which each reply repeats.
    pub(crate) request: u32,
    /// When the request was begun.
    pub(crate) begun: Moment,
}

impl Replies<'_> {
    /// Answers one call.
    pub(crate) fn result(&mut self, write: impl FnOnce(&mut Encoder<'_>) -> Result<(), Misfit>) -> Result<(), Misfit> {
        exit_if_forked_worker();
        if self.mail.outbox.is_crowded() {
            self.wait_for_blocks();
        }
        self.scratch.clear();
        let start = begin_part(self.scratch);
        let mut blocks = Vec::new();
        let written =
            write(&mut Encoder { bytes: self.scratch, blocks: &mut blocks, outbox: Some(&mut self.mail.outbox) });
        // Writing runs the user's code, too.
        exit_if_forked_worker();
        let packed = match written {
            Ok(()) if blocks.is_empty() && self.scratch.len() <= LARGEST => {
                end_part(&mut self.scratch[start..]);
                self.add();
                self.left -= 1;
                return Ok(());
            }
            Ok(()) => pack(self.scratch, &mut blocks, &mut self.mail.outbox),
            Err(misfit) => Err(misfit),
        };
        match packed {
            Ok(word) => {
                self.flush();
                if self.mail.introduce(&blocks).is_err() {
                    exit_now(); // The parent is gone.
                }
                self.post(status::DONE, word);
                self.left -= 1;
                Ok(())
            }
            Err(misfit) => {
                self.mail.recall(&blocks);
                Err(misfit)
            }
        }
    }

    /// Waits until the parent has given blocks back: it does so as it takes the replies that have them.
    #[cold]
    fn wait_for_blocks(&mut self) {
        while self.mail.outbox.is_crowded() {
            self.flush();
            call_parent(self.shared, self.mail);
            std::thread::sleep(PAUSE);
        }
    }

    /// Adds the result in the scratch to the open reply; the place of which it may not get twice.
    fn add(&mut self) {
        loop {
            if let Some((place, room)) = &mut self.open {
                if self.shared.add(place, self.scratch, *room) {
                    return;
                }
                self.flush();
            }
            // Room for the results that are to come, if they are like this one.
            let expected = self.scratch.len().saturating_mul(self.left as usize + 1);
            let room = expected.clamp(self.scratch.len(), LARGEST);
            self.open = Some((self.reserve(room), room));
        }
    }

    fn reserve(&mut self, room: usize) -> Place {
        self.until_room(room, |replies| replies.shared.reserve(room))
    }

    /// Waits for room for so many bytes of payload, until `take` finds it.
    fn until_room<T>(&mut self, room: usize, take: impl Fn(&Self) -> Result<Option<T>, Corrupt>) -> T {
        loop {
            match take(self) {
                Ok(Some(taken)) => return taken,
                Ok(None) => {}
                // The task has written where it must not, and nothing here can be believed any more.
                Err(_) => exit_now(),
            }
            call_parent(self.shared, self.mail);
            self.shared.wait_for_room(room);
        }
    }

    /// Ends the open reply.
    pub(crate) fn flush(&mut self) {
        self.end_copies();
        if let Some((place, _)) = self.open.take()
            && place.count() > 0
        {
            self.shared.publish(&place, self.heading(status::DONE, place.count(), 0).to_words());
        }
    }

    /// Ends this process if it is not the worker's.
    fn end_copies(&self) {
        exit_if_forked_worker();
        if Moment::now().since(self.begun) > VFORK_NS {
            exit_if_vforked_worker();
        }
    }

    fn heading(&self, status: u32, count: u32, word: u32) -> Heading {
        Heading { status, count, request: self.request, word }
    }

    /// Ends the request without a result for what is left of it.
    fn fail(&mut self, status: u32, why: &(&str, &str)) {
        // As the copy of a worker, this process ends here.
        self.flush();
        // A message is for people; one of megabytes helps nobody.
        let cut = |text: &str| text.chars().take(8_000).collect::<String>();
        let why = (cut(why.0), cut(why.1));
        self.scratch.clear();
        let mut blocks = Vec::new();
        let mut encoder = Encoder { bytes: self.scratch, blocks: &mut blocks, outbox: Some(&mut self.mail.outbox) };
        // Two strings always have a serial form.
        let _ = encoder.value(&why);
        self.post(status, 0);
        self.left = 0;
    }

    fn post(&mut self, status: u32, word: u32) {
        let words = self.heading(status, 1, word).to_words();
        self.until_room(self.scratch.len(), |replies| replies.shared.reply(words, &replies.scratch[..]));
    }
}

/// Wakes the parent's thread if it sleeps.
pub(crate) fn call_parent(shared: &Shared, mail: &Mail) {
    if shared.must_call_parent() && mail.ring().is_err() {
        exit_now(); // The parent is gone.
    }
}
