//! Serde attributes and hand-written serde code: values arrive unchanged, or an error says why they cannot be sent.

#![allow(dead_code, reason = "some fields are only serialized")]

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::net::IpAddr;
use std::num::NonZero;
use std::ops::{Bound, Range};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Duration;

use fanfold::{TaskError, parallel};
use serde::de::{SeqAccess, Visitor};
use serde::ser::{SerializeSeq, SerializeStruct, SerializeTuple};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

fanfold::process_tests!();

fn message_of(payload: &(dyn std::any::Any + Send)) -> String {
    payload
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap()
}

/// Functions that take the type, return it, and send it in a channel. Each must fail with this message, and the call
/// after it must not be affected.
macro_rules! refused {
    ($test:ident, $type:ty, $values:expr, $words:expr) => {
        mod $test {
            use super::*;

            #[parallel(kind = "process")]
            fn get(_: $type, after: u32) -> u32 {
                after
            }

            #[parallel(kind = "process")]
            fn give(which: usize) -> $type {
                let values: Vec<$type> = $values;
                values.into_iter().cycle().nth(which).expect("endless")
            }

            #[parallel(kind = "process")]
            fn both(_: $type, after: u32) -> Result<u32, TaskError> {
                Ok(after)
            }

            #[parallel(kind = "process")]
            fn pass(values: fanfold::Sender<$type>) -> fanfold::Sender<$type> {
                values
            }

            #[test]
            fn is_refused() {
                let words: &str = $words;
                let check = |text: &str| assert!(text.contains(words), "{text}");
                let values = || -> Vec<$type> { $values };
                for value in values() {
                    let panic = catch_unwind(AssertUnwindSafe(|| get(value, 5))).expect_err("refused");
                    check(&message_of(&*panic));
                }
                for (which, value) in values().into_iter().enumerate() {
                    check(&get::submit(value, 5).join().expect_err("refused").to_string());
                    let error = give::submit(which).join().expect_err("refused");
                    assert!(matches!(error, TaskError::Wire { .. }), "{error}");
                    check(&error.to_string());
                }
                let tasks: Vec<_> = values().into_iter().map(|value| get::submit(value, 5)).collect();
                tasks.into_iter().for_each(|task| check(&task.join().expect_err("refused").to_string()));
                let many: Vec<($type, u32)> = (0..20).flat_map(|_| values()).zip(0..).collect();
                let outcomes: Vec<Result<u32, TaskError>> = both::map(many).collect();
                outcomes.iter().for_each(|outcome| check(&outcome.as_ref().expect_err("refused").to_string()));
                let panic = catch_unwind(|| give::map(0..3).collect::<Vec<_>>()).expect_err("refused");
                check(&message_of(&*panic));
                let (sender, receiver) = fanfold::channel::<$type>();
                let sender = pass(sender);
                for value in values() {
                    let error = match sender.send(value) {
                        Err(unsent) => unsent.error,
                        Ok(()) => receiver.recv().map(drop).expect_err("refused"),
                    };
                    check(&error.to_string());
                }
            }
        }
    };
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct NotRead {
    #[serde(skip_deserializing)]
    total: u8,
    id: u8,
}
refused!(a_field_that_is_not_read, NotRead, vec![NotRead { total: 9, id: 5 }], "`NotRead` writes 2 fields and reads 1");

#[derive(Debug, Clone, Serialize, Deserialize)]
struct NotWritten {
    id: u8,
    #[serde(skip_serializing, default)]
    total: u8,
    other: u8,
}
refused!(
    a_field_that_is_not_written,
    NotWritten,
    vec![NotWritten { id: 1, total: 2, other: 3 }, NotWritten { id: 0, total: 0, other: 0 }],
    "`NotWritten` writes 2 fields and reads 3"
);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct OneForTheOther {
    #[serde(skip_deserializing)]
    id: u8,
    name: u8,
    #[serde(skip_serializing, default)]
    password: u8,
}
refused!(
    a_field_that_is_read_in_the_place_of_another,
    OneForTheOther,
    vec![OneForTheOther { id: 1, name: 2, password: 3 }],
    "`OneForTheOther` writes other fields than it reads"
);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Pairs(u8, #[serde(skip_serializing)] u8, u8);
refused!(a_tuple_field_that_is_not_written, Pairs, vec![Pairs(1, 2, 3)], "`Pairs` writes 2 fields and reads 3");

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Variants {
    Struct {
        #[serde(skip_deserializing)]
        total: u8,
        id: u8,
    },
    Tuple(u8, #[serde(skip_deserializing)] u8, u8),
    One(#[serde(skip_serializing)] u8),
    Other(#[serde(skip_deserializing)] u8),
}
refused!(
    variants,
    Variants,
    vec![Variants::Struct { total: 1, id: 2 }, Variants::Tuple(1, 2, 3), Variants::One(1), Variants::Other(1)],
    "`Variants::"
);

#[derive(Debug, Clone, Serialize, Deserialize)]
enum LastNotRead {
    First,
    #[serde(skip_deserializing)]
    Second,
    Third,
}
refused!(
    a_variant_that_is_not_read,
    (LastNotRead, u8),
    vec![(LastNotRead::Second, 7)],
    "`LastNotRead` writes other variants than it reads"
);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Nested {
    inner: Vec<(u8, Option<NotRead>)>,
}
refused!(
    a_nested_field,
    Nested,
    vec![Nested { inner: vec![(1, None), (2, Some(NotRead { total: 3, id: 4 }))] }],
    "`NotRead` writes 2 fields and reads 1"
);

/// A type with hand-written serde code. Only in the last case do its two halves agree.
#[derive(Debug, Clone, Copy, PartialEq)]
struct ByHand(u8);

const REASON: u8 = 0;
const LONG: u8 = 1;
const SHORT: u8 = 2;
const SEQUENCE: u8 = 3;
const UNREADABLE: u8 = 4;
const FINE: u8 = 5;

impl Serialize for ByHand {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            REASON => Err(serde::ser::Error::custom("my reason 42")),
            SEQUENCE => {
                let mut seq = serializer.serialize_seq(Some(3))?;
                seq.serialize_element(&self.0)?;
                seq.end()
            }
            LONG => u16::from_le_bytes([LONG, 0x80]).serialize(serializer),
            SHORT => serializer.serialize_unit(),
            other => other.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ByHand {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            UNREADABLE => Err(serde::de::Error::custom("my reason 43")),
            other => Ok(Self(other)),
        }
    }
}
refused!(an_error_of_serialize, ByHand, vec![ByHand(REASON)], "implementation refused it: my reason 42");
refused!(an_error_of_deserialize, ByHand, vec![ByHand(UNREADABLE)], "implementation refused it: my reason 43");
refused!(a_sequence_that_is_read_as_a_number, ByHand, vec![ByHand(SEQUENCE)], "invalid type: sequence, expected u8");

#[cfg(unix)]
refused!(
    a_path_that_is_not_utf8,
    PathBuf,
    vec![<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(vec![b'a', 0xff]).into()],
    "implementation refused it: path contains invalid UTF-8 characters"
);

#[parallel(kind = "process")]
fn through(value: ByHand, after: u8) -> Result<(u8, u8), TaskError> {
    Ok((value.0, after))
}

#[parallel(kind = "process")]
fn only(value: ByHand) -> Result<u8, TaskError> {
    Ok(value.0)
}

#[parallel(kind = "process")]
fn back(value: u8, logs: PathBuf) -> Result<ByHand, TaskError> {
    // A file for each process: not every system appends the bytes of two processes without losing any.
    let log = logs.join(std::process::id().to_string());
    let mut log = std::fs::OpenOptions::new().append(true).create(true).open(log).expect("it can be opened");
    log.write_all(&[value]).expect("it can be written");
    Ok(ByHand(value))
}

fn message(outcome: Result<impl std::fmt::Debug, TaskError>) -> String {
    let error = outcome.expect_err("refused");
    assert!(matches!(error, TaskError::Wire { .. }), "{error}");
    error.to_string()
}

#[test]
fn arguments_that_cannot_be_read_fail_no_other_call() {
    let items: Vec<ByHand> = (0..300).map(|n| ByHand([LONG, FINE, SHORT, 6, 7][n % 5])).collect();
    let outcomes: Vec<Result<u8, TaskError>> = only::map(items.clone()).collect();
    for (item, outcome) in items.into_iter().zip(outcomes) {
        match item.0 {
            LONG => {
                let text = message(outcome);
                assert!(text.contains("arguments could not be read"), "{text}");
                assert!(text.contains("invalid value: integer `32769`, expected u8"), "{text}");
            }
            SHORT => assert!(message(outcome).contains("expected u8")),
            fine => assert_eq!(outcome.expect("it agrees"), fine),
        }
    }
    let tasks: Vec<_> = (0..100).map(|n| through::submit(ByHand([LONG, FINE][n % 2]), 9)).collect();
    for (n, task) in tasks.into_iter().enumerate() {
        let outcome = task.join().and_then(|outcome| outcome);
        match n % 2 {
            0 => assert!(message(outcome).contains("expected u8")),
            _ => assert_eq!(outcome.expect("it agrees"), (FINE, 9)),
        }
    }
    assert!(message(only(ByHand(LONG))).contains("expected u8"));
    assert_eq!(only(ByHand(FINE)).expect("it agrees"), FINE);
}

#[test]
fn results_that_cannot_be_read_fail_no_other_call_and_rerun_none() {
    let dir = tempfile::tempdir().expect("there is room");
    let kinds = [LONG, FINE, SHORT, 6, UNREADABLE, 7];
    let items: Vec<(u8, PathBuf)> = (0..300).map(|n| (kinds[n % 6], dir.path().to_owned())).collect();
    let outcomes: Vec<Result<ByHand, TaskError>> = back::map(items.clone()).collect();
    for ((item, _), outcome) in items.into_iter().zip(outcomes) {
        match item {
            LONG | SHORT => assert!(message(outcome).contains("expected u8")),
            UNREADABLE => assert!(message(outcome).contains("my reason 43")),
            fine => assert_eq!(outcome.expect("it agrees"), ByHand(fine)),
        }
    }
    let logs = std::fs::read_dir(&dir).expect("it can be read");
    let written = |log: std::io::Result<std::fs::DirEntry>| log.and_then(|log| log.metadata()).map(|log| log.len());
    assert_eq!(logs.map(written).sum::<std::io::Result<u64>>().expect("they can be read"), 300, "each ran once");
    let task = back::submit(LONG, dir.path().to_owned()).join().and_then(|outcome| outcome);
    assert!(message(task).contains("expected u8"));
    assert!(message(back(LONG, dir.path().to_owned())).contains("expected u8"));
}

#[parallel(kind = "process")]
fn pass_by_hand(values: fanfold::Sender<ByHand>) -> fanfold::Sender<ByHand> {
    values
}

#[test]
fn a_channel_continues_after_a_value_that_cannot_be_read() {
    let (sender, receiver) = fanfold::channel::<ByHand>();
    let sender = pass_by_hand(sender);
    [LONG, FINE].into_iter().for_each(|value| sender.send(ByHand(value)).expect("it can be written"));
    assert!(receiver.recv().expect_err("it is too long").to_string().contains("expected u8"));
    assert_eq!(receiver.recv().expect("it agrees"), ByHand(FINE));
}

/// A type that reads less than it writes.
#[derive(Debug, Clone)]
struct Unread;

impl Serialize for Unread {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        7_u8.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Unread {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}
refused!(a_type_that_reads_nothing, Unread, vec![Unread], "read");

/// A type with every attribute that must keep working.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct All<'a, T> {
    #[serde(alias = "number", alias = "id")]
    user_id: u128,
    #[serde(default)]
    some_letter: char,
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(skip)]
    cache: u8,
    #[serde(with = "in_halves")]
    halved: u32,
    text: Cow<'a, str>,
    transparent: Transparent,
    #[allow(clippy::option_option, reason = "not every format can tell the three apart")]
    options: [Option<Option<u8>>; 3],
    generic: Vec<T>,
    maps: (BTreeMap<String, [u16; 3]>, HashMap<i8, bool>),
    unit: Unit,
    shifted: Vec<Shifted>,
    times: (Duration, Range<u8>, Bound<i64>),
    system: (IpAddr, NonZero<u8>, PathBuf, Result<u8, String>),
    both: Converted,
    bytes: fanfold::Bytes,
    other_case: OtherCase,
    by_hand: StructAsTuple,
    child: Option<Box<All<'a, T>>>,
}

mod in_halves {
    use super::*;

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that `serialize_with` requires")]
    pub(super) fn serialize<S: Serializer>(n: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        (n / 2, n - n / 2).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        <(u32, u32)>::deserialize(deserializer).map(|(a, b)| a + b)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Transparent {
    value: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Kind {
    Nothing,
    #[serde(alias = "Alone")]
    One(i16),
    Some(f32, #[serde(skip)] u8, f64),
    WithNames {
        #[serde(alias = "b")]
        a: u8,
        #[serde(skip)]
        c: u8,
    },
    Hollow(),
    Empty {},
}

/// Serde writes the third variant as number 2, and reads number 2 as the fourth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shifted {
    Created,
    #[serde(skip)]
    Internal(u8),
    Updated,
    #[serde(alias = "Removed")]
    Deleted,
    Closed,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "(u8, String)", from = "(u8, String)")]
struct Converted(String);

impl From<Converted> for (u8, String) {
    fn from(converted: Converted) -> Self {
        (1, converted.0)
    }
}

impl From<(u8, String)> for Converted {
    fn from((_, text): (u8, String)) -> Self {
        Self(text)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase", deserialize = "snake_case"))]
struct OtherCase {
    first_name: u8,
    last_name: u8,
}

/// A type that formats without names cannot tell from a tuple, so its serde code need not either.
#[derive(Debug, Clone, PartialEq)]
struct StructAsTuple(u8, u8);

impl Serialize for StructAsTuple {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_multiple_of(2) {
            let mut fields = serializer.serialize_struct("StructAsTuple", 2)?;
            fields.serialize_field("x", &self.0)?;
            fields.serialize_field("y", &self.1)?;
            return fields.end();
        }
        let mut parts = serializer.serialize_tuple(2)?;
        parts.serialize_element(&self.0)?;
        parts.serialize_element(&self.1)?;
        parts.end()
    }
}

impl<'de> Deserialize<'de> for StructAsTuple {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = StructAsTuple;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("two numbers")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<StructAsTuple, A::Error> {
                let mut next = || seq.next_element()?.ok_or_else(|| serde::de::Error::custom("too few"));
                Ok(StructAsTuple(next()?, next()?))
            }
        }
        deserializer.deserialize_tuple(2, Visit)
    }
}

/// A pseudo-random sequence that is equal in every run with the same seed.
struct Random(fastrand::Rng);

impl Random {
    fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    fn next(&mut self) -> u64 {
        self.0.u64(..)
    }

    /// A number of any number of digits.
    fn any(&mut self) -> u64 {
        let shift = self.next() % 64;
        self.next() >> shift
    }

    #[allow(clippy::cast_possible_truncation, reason = "only pseudo-random bits are needed")]
    fn byte(&mut self) -> u8 {
        self.any() as u8
    }

    fn some<T>(&mut self, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = if self.next().is_multiple_of(8) { self.next() % 300 } else { self.next() % 4 };
        (0..count).map(|_| make(self)).collect()
    }

    fn option<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.next().is_multiple_of(2).then(|| make(self))
    }

    fn text(&mut self) -> String {
        self.some(Self::letter).into_iter().collect()
    }

    fn letter(&mut self) -> char {
        ['a', 'ä', '€', '\u{10ffff}', '\0'][usize::from(self.byte() % 5)]
    }

    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "only pseudo-random bits are needed"
    )]
    fn kind(&mut self) -> Kind {
        match self.next() % 6 {
            0 => Kind::Nothing,
            1 => Kind::One(self.any() as i16),
            2 => Kind::Some(self.any() as f32, 0, self.any() as f64),
            3 => Kind::WithNames { a: self.byte(), c: 0 },
            4 => Kind::Hollow(),
            _ => Kind::Empty {},
        }
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "only pseudo-random bits are needed"
    )]
    fn all<T>(&mut self, depth: u8, generic: &mut impl FnMut(&mut Self) -> T) -> All<'static, T> {
        All {
            user_id: u128::from(self.any()) * u128::from(self.any()),
            some_letter: self.letter(),
            kind: self.kind(),
            cache: 0,
            halved: self.any() as u32,
            text: self.text().into(),
            transparent: Transparent { value: self.any() as i64 },
            options: [None, Some(None), self.option(|random| random.option(Self::byte))],
            generic: self.some(&mut *generic),
            maps: (
                self.some(|random| (random.text(), [random.any() as u16; 3])).into_iter().collect(),
                self.some(|random| (random.byte() as i8, true)).into_iter().collect(),
            ),
            unit: Unit,
            shifted: self.some(|random| {
                [Shifted::Created, Shifted::Updated, Shifted::Deleted, Shifted::Closed][usize::from(random.byte() % 4)]
                    .clone()
            }),
            times: (
                Duration::from_nanos(self.any()),
                self.byte()..self.byte(),
                self.option(|random| Bound::Included(random.any() as i64)).unwrap_or(Bound::Unbounded),
            ),
            system: (
                IpAddr::from(self.any().to_be_bytes().first_chunk::<4>().copied().unwrap_or_default()),
                NonZero::new(self.byte()).unwrap_or(NonZero::<u8>::MAX),
                self.text().into(),
                self.option(Self::text).map_or(Ok(self.byte()), Err),
            ),
            both: Converted(self.text()),
            bytes: self.some(Self::byte).into(),
            other_case: OtherCase { first_name: self.byte(), last_name: self.byte() },
            by_hand: StructAsTuple(self.byte(), self.byte()),
            child: if depth == 0 { None } else { self.option(|random| Box::new(random.all(depth - 1, generic))) },
        }
    }
}

#[parallel(kind = "process")]
fn echo(value: All<'static, Option<i64>>, after: u8) -> (All<'static, Option<i64>>, u8) {
    (value, after)
}

type AllSender = fanfold::Sender<All<'static, Option<i64>>>;

#[parallel(kind = "process")]
fn pass_all(values: AllSender) -> AllSender {
    values
}

#[test]
fn all_other_serde_attributes_round_trip() {
    let mut random = Random::new(11);
    let mut generic = |random: &mut Random| random.option(|random| random.any().cast_signed());
    let values: Vec<_> = (0..200).map(|n: u8| (random.all(3, &mut generic), n)).collect();
    let same: Vec<_> = echo::map(values.clone()).collect();
    assert_eq!(same, values);
    let (sender, receiver) = fanfold::channel();
    let sender = pass_all(sender);
    for (value, n) in values.iter().take(40) {
        assert_eq!(echo::submit(value.clone(), *n).join().expect("it can be sent"), (value.clone(), *n));
        assert_eq!(echo(value.clone(), *n), (value.clone(), *n));
        sender.send(value.clone()).expect("it can be sent");
        assert_eq!(receiver.recv().expect("it can be received"), *value);
    }
}
