//! The strict codec: a self-describing binary format in which a value is read as it was written, or refused.
//!
//! Every value has a byte before it, its [`tag`], so any type can be read that serde supports: also one that must see
//! the data before it knows its shape (`serde(untagged)`, `serde(tag)`, `serde(flatten)`, `serde_json::Value`). Each
//! type that serde tells apart has a tag, so `Some(None)` is no `None`, a `u8` no `u64` and a `char` no text.
//!
//! | value | behind its tag |
//! |---|---|
//! | an integer | its bytes without leading zeros; the tag says how many there are |
//! | a text, bytes | a length, and the bytes |
//! | a sequence, a tuple, a map | the number of its parts, and the parts |
//! | a struct | the number of its fields, and each one's name and value |
//! | a variant of an enum | its index and its name, and its content |
//!
//! A [name](names) is written once in a message; then a byte refers to it. The reader compares names with those of the
//! type that it reads. So it notices types that leave out a field when they are written and not when they are read
//! (`serde(skip_serializing)`, `skip_deserializing`), and finds the variant where serde counts skipped ones when it
//! writes and not when it reads. A field that `serde(skip_serializing_if)` leaves out has a mark in place of its value.

mod input;
mod names;
mod parts;
mod read;
mod read_enum;
mod tag;
mod write;

use std::fmt;

use super::CodecError as Error;
use crate::process::os;
pub(in crate::process) use read::read;
pub(in crate::process) use write::write;

/// The lowest stack address that nested values may use. Their depth is a property of the data, so it must be limited at
/// run time. The address is computed at the first nested value.
struct StackLimit(usize);

impl StackLimit {
    /// A limit that is not computed yet. Every address is below it, so the first check computes it.
    const UNKNOWN: Self = Self(usize::MAX);

    /// Checks that the stack has room for one more nested value. Recursive types recur in an option, an enum, a
    /// sequence or a map, so matching call this. `action` says what the thread does with the value, for the error, and
    /// `reserved` how many bytes must stay free.
    #[inline]
    fn enter_nested(&mut self, action: &'static str, reserved: usize) -> Result<(), Error> {
        let here = 0_u8;
        let here = std::ptr::from_ref(&here).addr().saturating_sub(reserved);
        if here < self.0 { self.check_limit(here, action) } else { Ok(()) }
    }

    #[cold]
    fn check_limit(&mut self, here: usize, action: &'static str) -> Result<(), Error> {
        if self.0 == Self::UNKNOWN.0 {
            self.0 = os::stack_limit();
        }
        if here < self.0 { Err(Error::too_deep(action)) } else { Ok(()) }
    }
}

/// The name of a type, and of its variant, for errors. Either may be empty: a sequence, a tuple or a map has no name.
#[derive(Clone, Copy)]
struct TypeName<'a>(&'static str, &'a str);

impl fmt::Display for TypeName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self("", _) => f.write_str("one of its parts"),
            Self(name, "") => write!(f, "`{name}`"),
            Self(name, variant) => write!(f, "`{name}::{variant}`"),
        }
    }
}

impl Error {
    /// Fewer bytes came than were announced.
    #[cold]
    fn too_short() -> Self {
        Self::new("it ends too early")
    }

    /// The values are nested deeper than the stack of this thread allows.
    #[cold]
    fn too_deep(action: &str) -> Self {
        Self::new(format_args!(
            "its values are nested too deep for the stack of the thread that {action} it: send them flat, as a `Vec` \
             whose values refer to each other by index, or give the thread more stack (`RUST_MIN_STACK`; for a worker \
             process `ulimit -s`)"
        ))
    }

    /// The numbers of written and read fields differ.
    #[cold]
    fn differs(of: TypeName, written: usize, read: usize) -> Self {
        Self::new(format_args!(
            "{of} writes {written} fields and reads {read} (`serde(skip_serializing)` or `skip_deserializing`): \
             remove the attribute, use `serde(skip)`, or send another type"
        ))
    }

    /// The numbers of fields agree, and their names do not.
    #[cold]
    fn differing_names(of: TypeName) -> Self {
        Self::new(format_args!(
            "{of} writes other fields than it reads (`serde(skip_serializing)` and `skip_deserializing`, or a `rename` \
             for one of the two): remove the attributes, use `serde(skip)` or `serde(alias)`, or send another type"
        ))
    }
}

impl std::error::Error for Error {}

impl serde::ser::Error for Error {
    #[cold]
    fn custom<T: fmt::Display>(why: T) -> Self {
        Self::new(format_args!("its own serde implementation refused it: {why}"))
    }
}

impl serde::de::Error for Error {
    #[cold]
    fn custom<T: fmt::Display>(why: T) -> Self {
        serde::ser::Error::custom(why)
    }
}
