//! Ends of channels and shared values inside values that serde writes, such as the field of a struct.
//!
//! They go with a message as attachments, which serde's traits know nothing of. So the attachments are in a variable of
//! the thread while serde writes or reads a value. The value has the place of each one among them.

use std::cell::Cell;
use std::mem::{needs_drop, take};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread::LocalKey;
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

/// Puts a value into the thread's variable until it is dropped, also by a panic: code of the value may call functions in
/// other processes, which write and read values of their own.
struct Installed<T: 'static> {
    variable: &'static Variable<T>,
    before: Option<T>,
}

impl<T> Installed<T> {
    /// Fails on a thread that is ending and has no variables any more.
    fn new(variable: &'static Variable<T>, value: T) -> Result<Self, T> {
        let mut value = Some(value);
        let before = variable.try_with(|variable| variable.replace(value.take()));
        match (before, value) {
            (Err(_), Some(value)) => Err(value),
            (before, _) => Ok(Self { variable, before: before.ok().flatten() }),
        }
    }

    /// The value that was installed.
    fn take(&mut self) -> Option<T> {
        self.variable.take()
    }
}

impl<T> Drop for Installed<T> {
    fn drop(&mut self) {
        drop(self.variable.replace(self.before.take()));
    }
}

/// Writes a value by serde, with the ends inside of it.
pub(super) fn write<T: Serialize>(value: &T, out: &mut Encoder<'_>) -> Result<(), CodecError> {
    // An end must be dropped, and so must all that it is in.
    if const { !needs_drop::<T>() } {
        return out.value(value);
    }
    let attachments = take(out.attachments);
    let first = attachments.len();
    let writing = Writing { attachments, first, max_descriptors: out.max_descriptors, error: None };
    let mut installed = match Installed::new(&WRITING, writing) {
        Ok(installed) => installed,
        Err(writing) => {
            *out.attachments = writing.attachments;
            return out.value(value);
        }
    };
    // The segments among the attachments are lent. Whoever catches the panic frees them.
    let written = catch_unwind(AssertUnwindSafe(|| out.value(value)));
    let writing = installed.take();
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
    let mut installed = match Installed::new(&READING, reading) {
        Ok(installed) => installed,
        Err(reading) => {
            input.attachments = reading.attachments;
            return input.value();
        }
    };
    let value = input.value();
    if let Some(mut reading) = installed.take() {
        reading.attachments.by_ref().take(reading.used).for_each(close);
        input.attachments = reading.attachments;
    }
    value
}

/// Closes what an end has a duplicate of. That does not wait for the other process: it is not the last `close`.
fn close(attachment: ReceivedAttachment) {
    if let ReceivedAttachment::Descriptor(descriptor) = attachment {
        drop(descriptor.into_channel_socket());
    }
}

/// The value of a variable, if there is one.
fn taken<T>(variable: &'static Variable<T>) -> Option<T> {
    variable.try_with(Cell::take).ok().flatten()
}

/// Writes an end inside of a value: the place of its attachments, their number, and its own bytes.
pub(crate) fn serialize<T: Direct, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    // The variable is empty meanwhile: values that move to the socket of a channel are written by this thread.
    let mut writing = taken(&WRITING).ok_or_else(|| ser::Error::custom(NO_MESSAGE))?;
    let (mut bytes, before) = (Vec::new(), writing.attachments.len());
    let mut out = Encoder {
        bytes: &mut bytes,
        attachments: &mut writing.attachments,
        outbox: None,
        max_descriptors: writing.max_descriptors,
    };
    // The values that wait in a channel are written here, by code of the user.
    let written = catch_unwind(AssertUnwindSafe(|| value.write(&mut out)));
    let written = match written {
        Ok(written) => written,
        Err(payload) => {
            WRITING.set(Some(writing));
            resume_unwind(payload)
        }
    };
    let (place, count) = (before - writing.first, writing.attachments.len() - before);
    let text = written.as_ref().err().map(ser::Error::custom);
    writing.error = writing.error.or(written.err());
    WRITING.set(Some(writing));
    match text {
        Some(error) => Err(error),
        None => (place, count, Bytes::from(bytes)).serialize(serializer),
    }
}

/// Reads an end inside of a value.
pub(crate) fn deserialize<'de, T: Direct, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let (place, count, bytes) = <(usize, usize, Bytes)>::deserialize(deserializer)?;
    let mut reading = taken(&READING).ok_or_else(|| de::Error::custom(NO_MESSAGE))?;
    let value = reading.duplicates(place, count).and_then(|own| {
        let mut input = Decoder::new(&bytes, own);
        let value = T::read(&mut input)?;
        input.end("an end of a channel was not read to its end")?;
        Ok(value)
    });
    READING.set(Some(reading));
    value.map_err(de::Error::custom)
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
