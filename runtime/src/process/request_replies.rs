//! Receives the replies to a request, and passes each result to the caller.

use std::time::Instant;

use super::child::{Child, WaitEvent};
use super::codec::{CodecError, Decoder, catch_codec_panic};
use super::exit_report::LossCause;
use super::serve::{ReplyHeader, status};
use crate::error::{Payload, TaskError};

/// Takes the result of the next call: reads it from the decoder, or gets the error that kept it from being read.
pub(crate) type OnResult<'a> = dyn FnMut(Result<&mut Decoder<'_>, Box<TaskError>>) -> Result<(), CodecError> + 'a;

/// Why a request ended before all its calls were answered.
#[derive(Clone, Copy)]
pub(super) enum RequestFailure {
    Lost(LossCause),
    TimedOut,
}

/// Receives replies until all calls of a request are answered. `on_begun` is the number of the request and a function
/// to call once the worker has begun it.
pub(super) fn receive_replies(
    child: &mut Child,
    deadline: Option<Instant>,
    reply: &mut Vec<u8>,
    replies: &mut ReplyReader<'_>,
    mut on_begun: Option<(u32, impl FnOnce())>,
) -> Option<RequestFailure> {
    // Whether the last wait announced a reply that was not there.
    let mut was_padding = false;
    loop {
        match child.wait(deadline, on_begun.as_ref().map(|(number, _)| *number)) {
            WaitEvent::Reply => {}
            WaitEvent::Begun => {
                if let Some((_, call)) = on_begun.take() {
                    call();
                }
                continue;
            }
            WaitEvent::TimedOut => return Some(RequestFailure::TimedOut),
            WaitEvent::Lost(cause) => return Some(RequestFailure::Lost(cause)),
        }
        match child.reply(reply) {
            Ok(Some(header)) => {
                if replies.take(child, header, reply).is_none() {
                    return Some(RequestFailure::Lost(LossCause::Corrupt));
                }
            }
            // Padding at the end of the ring. A second one in a row is refused, because a compromised worker could
            // write padding without end.
            Ok(None) if !was_padding => {
                was_padding = true;
                continue;
            }
            Ok(None) => return Some(RequestFailure::Lost(LossCause::Corrupt)),
            Err(cause) => return Some(RequestFailure::Lost(cause)),
        }
        was_padding = false;
        if replies.unanswered == 0 {
            return None;
        }
        // A compromised worker may reply without end, and then `wait` never looks at the deadline.
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Some(RequestFailure::TimedOut);
        }
    }
}

/// Reads the replies to one request.
pub(super) struct ReplyReader<'a> {
    pub(super) function: &'static str,
    /// The calls that are not answered yet.
    pub(super) unanswered: u32,
    pub(super) error: Option<TaskError>,
    pub(super) on_result: &'a mut OnResult<'a>,
}

impl ReplyReader<'_> {
    /// Reads a reply; `None` if its bytes are no valid reply.
    fn take(&mut self, child: &mut Child, header: ReplyHeader, payload: &[u8]) -> Option<()> {
        let ReplyHeader { status, count, attachment_word, .. } = header;
        let mut message = child.open(attachment_word, payload).ok()?;
        let mut input = message.decoder();
        if status != status::DONE {
            let error = read_failure(self.function, status, &mut input)?;
            self.unanswered = 0;
            self.error.get_or_insert(error);
            return Some(());
        }
        self.results(count, &mut input)
    }

    /// Reads `count` results.
    fn results(&mut self, count: u32, input: &mut Decoder<'_>) -> Option<()> {
        // A compromised worker could send replies without results without end.
        let count = Some(count).filter(|count| *count > 0)?;
        self.unanswered = self.unanswered.checked_sub(count)?;
        let mut taken = 0;
        // Each result is a part with a length, so an unreadable one does not hide those behind it.
        while taken < count {
            let read = catch_codec_panic(self.function, || {
                while taken < count {
                    taken += 1;
                    (self.on_result)(Ok(input))?;
                }
                Ok(())
            });
            if let Err(CodecError(why)) = read {
                let error = TaskError::wire(self.function, format!("its result could not be read: {why}"));
                (self.on_result)(Err(Box::new(error))).ok()?;
            }
        }
        input.is_at_end().then_some(())
    }

    /// Takes the results that a worker had finished before it died: published replies, and complete results of the open
    /// reply.
    pub(super) fn take_finished_results(&mut self, child: &mut Child, reply: &mut Vec<u8>) {
        while self.unanswered > 0
            && let Ok(Some(header)) = child.reply(reply)
        {
            if self.take(child, header, reply).is_none() {
                return;
            }
        }
        let count = child.take_open_reply(reply);
        if count > 0 && count <= self.unanswered {
            self.results(count, &mut Decoder::new(reply, Vec::new()));
        }
    }

    pub(super) fn outcome(self) -> Result<(), TaskError> {
        self.error.map_or(Ok(()), Err)
    }
}

/// Reads the error that a reply with this status carries.
pub(super) fn read_failure(function: &'static str, status: u32, input: &mut Decoder<'_>) -> Option<TaskError> {
    let (message, location): (String, String) = input.value().ok()?;
    Some(match status {
        status::PANICKED => {
            let payload = Payload::new(Box::new(message.clone()));
            let location = Some(location).filter(|location| !location.is_empty());
            TaskError::Panicked { message, function, location, payload }
        }
        status::INIT => TaskError::Init { message },
        status::CODEC => TaskError::wire(function, message),
        _ => return None,
    })
}
