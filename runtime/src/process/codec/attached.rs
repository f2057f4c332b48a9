//! Ends of channels and shared values inside values that serde writes, such as the field of a struct.
//!
//! They go with a message as attachments, which serde's traits know nothing of. So the attachments are in a variable of
//! the thread while serde writes or reads a value. The value has the place of each one among them.

use std::cell::Cell;
use std::mem::{needs_drop, take};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread::{self, LocalKey};
use std::vec;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::direct::Bytes;
use super::{Attachment, CodecError, Decoder, Direct, Encoder, ReceivedAttachment};
use crate::process::os::ForeignHandle;
use crate::process::os::refusal::{Operation, RefusedOperation};

/// The error where no value is written or read for another process, as by `serde_json`.
const NO_MESSAGE: &str = "an end of a channel or a shared value is part of a message to another process, and serde \
                          cannot write or read it elsewhere: pass it to a function of `kind = \"process\"`, return it \
                          from one, or send it through a channel";

/// What an end inside of a value needs while the value is written.
struct Writing {
    attachments: Vec<Attachment>,
    /// The number of attachments before those of the value.
    first: usize,
    max_descriptors: usize,
    /// The first error of an end. serde's error would have only its text.
    error: Option<CodecError>,
}

/// What an end inside of a value needs while the value is read.
struct Reading {
    /// Those of the value, and of the values behind it.
    attachments: vec::IntoIter<ReceivedAttachment>,
    /// The number of attachments that the value has at least.
    used: usize,
    /// The number of duplicates that may be made.
    left: usize,
}

/// How often a value may read each of its ends. A value of a hostile worker could else take all descriptors of this
/// process.
const READS: usize = 16;

thread_local! {
    static WRITING: Cell<Option<Writing>> = const { Cell::new(None) };
    static READING: Cell<Option<Reading>> = const { Cell::new(None) };
}

/// A variable of the thread that says what is being written or read.
type Variable<T> = LocalKey<Cell<Option<T>>>;

/// Calls `f` with a value in the thread's variable, and returns the value. What the variable holds is kept meanwhile:
/// code of a value may call functions in other processes, which write and read values of their own. On a thread that is
/// ending and has no variables any more, `f` finds nothing in it.
fn with<T, R>(variable: &'static Variable<T>, value: T, f: impl FnOnce() -> R) -> (Option<T>, thread::Result<R>) {
    let other = Cell::new(Some(value));
    let swap = || variable.try_with(|variable| variable.swap(&other)).unwrap_or_default();
    swap();
    let result = catch_unwind(AssertUnwindSafe(f));
    swap();
    (other.into_inner(), result)
}

/// Calls `f` with the value of the thread's variable. The variable is empty meanwhile: values that move to the socket of
/// a channel are written and read by this thread, by code of the user.
fn lent<T, R>(
    variable: &'static Variable<T>,
    f: impl FnOnce(&mut T) -> Result<R, CodecError>,
) -> Result<R, CodecError> {
    let value = variable.try_with(Cell::take).ok().flatten();
    let mut value = value.ok_or_else(|| CodecError::new(NO_MESSAGE))?;
    let result = catch_unwind(AssertUnwindSafe(|| f(&mut value)));
    variable.set(Some(value));
    result.unwrap_or_else(|payload| resume_unwind(payload))
}

/// Writes a value by serde, with the ends inside of it.
pub(super) fn write<T: Serialize>(value: &T, out: &mut Encoder<'_>) -> Result<(), CodecError> {
    // An end must be dropped, and so must all that it is in.
    if const { !needs_drop::<T>() } {
        return out.value(value);
    }
    let (attachments, max_descriptors) = (take(out.attachments), out.max_descriptors);
    let writing = Writing { first: attachments.len(), attachments, max_descriptors, error: None };
    let (writing, written) = with(&WRITING, writing, || out.value(value));
    // The segments among the attachments are lent. Whoever catches a panic frees them.
    let error = writing.and_then(|writing| {
        *out.attachments = writing.attachments;
        writing.error
    });
    let written = written.unwrap_or_else(|payload| resume_unwind(payload));
    error.map_or(written, Err)
}

/// Reads a value by serde, with the ends inside of it.
pub(super) fn read<T: DeserializeOwned>(input: &mut Decoder<'_>) -> Result<T, CodecError> {
    if const { !needs_drop::<T>() } {
        return input.value();
    }
    let attachments = take(&mut input.attachments);
    let reading = Reading { left: READS * attachments.len(), attachments, used: 0 };
    let (reading, value) = with(&READING, reading, || input.value());
    if let Some(mut reading) = reading {
        reading.attachments.by_ref().take(reading.used).for_each(close);
        input.attachments = reading.attachments;
    }
    value.unwrap_or_else(|payload| resume_unwind(payload))
}

/// Closes what an end has a duplicate of. That does not wait for the other process: it is not the last `close`.
fn close(attachment: ReceivedAttachment) {
    if let ReceivedAttachment::Descriptor(descriptor) = attachment {
        drop(descriptor.into_channel_socket());
    }
}

/// Writes an end inside of a value: the place of its attachments, their number, and its own bytes.
pub(crate) fn serialize<T: Direct, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    let mut bytes = Vec::new();
    let written = lent(&WRITING, |writing| {
        let (max_descriptors, before) = (writing.max_descriptors, writing.attachments.len());
        let mut out = Encoder { max_descriptors, ..Encoder::new(&mut bytes, &mut writing.attachments, None) };
        value.write(&mut out).inspect_err(|error| {
            writing.error.get_or_insert_with(|| error.clone());
        })?;
        Ok((before - writing.first, writing.attachments.len() - before))
    });
    let (place, count) = written.map_err(ser::Error::custom)?;
    (place, count, Bytes::from(bytes)).serialize(serializer)
}

/// Reads an end inside of a value.
pub(crate) fn deserialize<'de, T: Direct, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let (place, count, bytes) = <(usize, usize, Bytes)>::deserialize(deserializer)?;
    let read = lent(&READING, |reading| {
        let mut input = Decoder::new(&bytes, reading.duplicates(place, count)?);
        let value = T::read(&mut input)?;
        input.end("an end of a channel was not read to its end")?;
        Ok(value)
    });
    read.map_err(de::Error::custom)
}

impl Reading {
    /// The attachments of an end. serde may read an end again, as another variant of an enum, so these are duplicates.
    fn duplicates(&mut self, place: usize, count: usize) -> Result<Vec<ReceivedAttachment>, CodecError> {
        let missing = || CodecError::new("an open file is missing");
        let end = place.checked_add(count).ok_or_else(missing)?;
        let own = self.attachments.as_slice().get(place..end).ok_or_else(missing)?;
        self.left = self.left.checked_sub(count).ok_or_else(|| CodecError::new("it reads an end too often"))?;
        let duplicate = |attachment: &ReceivedAttachment| match attachment {
            ReceivedAttachment::Descriptor(descriptor) => {
                let copy = descriptor.try_clone().map_err(|error| RefusedOperation::error(Operation::Duplicate, error));
                Ok(ReceivedAttachment::Descriptor(ForeignHandle::new(copy.map_err(CodecError::new)?)))
            }
            ReceivedAttachment::Segment(_) => Err(missing()),
        };
        let duplicates = own.iter().map(duplicate).collect();
        self.used = self.used.max(end);
        duplicates
    }
}
