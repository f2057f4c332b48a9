//! The strict codec: postcard with checks that a value is read as it was written, or refused.
//!
//! postcard writes the parts of a value one after the other, and nothing else. A type that leaves out a field when it
//! is written and not when it is read (`serde(skip_serializing_if)`, `skip_serializing`, `skip_deserializing`) reads
//! the bytes of the next field as the missing one, without an error. So the strict codec adds:
//!
//! | value | before it | behind it |
//! |---|---|---|
//! | a sequence, a tuple, a map | the number of its parts, and their kind | |
//! | a struct | the number of its parts, and their kind | one byte, a hash of its fields' names |
//! | an enum | the index and the shape of its variant, and two bytes, a hash of the variant's name | |
//!
//! The reader compares all of this with the type that it reads. It finds a variant by its name, because serde counts
//! skipped variants when it writes and not when it reads.
//!
//! Everything else is postcard's: `ValueWriter` and `ValueReader` forward to it. They keep the texts of errors that a
//! type's own serde implementation reports, which postcard drops.

mod input;
mod read;
mod read_enum;
mod write;

use std::fmt;

use crate::process::os;
pub(in crate::process) use read::read;
pub(in crate::process) use write::write;

/// The kinds of parts, in the low bits of their number.
mod kind {
    /// Elements of a sequence or a tuple.
    pub(crate) const ITEMS: u64 = 0;
    /// Named fields.
    pub(crate) const FIELDS: u64 = 1;
    /// Keys and values of a map.
    pub(crate) const ENTRIES: u64 = 2;
}

/// The shape of a variant, in the low bits of its index.
mod shape {
    pub(crate) const UNIT: u64 = 0;
    pub(crate) const VALUE: u64 = 1;
    pub(crate) const PARTS: u64 = 2;
}

/// The number of low bits that hold a kind or a shape.
const BITS: u32 = 2;

/// The bit that is set in each byte of a postcard number but its last.
const MORE: u8 = 0x80;

/// The bit in which `a` differs from `A`, in each of four letters.
const LOWER_CASE: u32 = 0x2020_2020;

/// A hash of a list of names.
#[derive(Clone, Copy)]
struct NameHash(u32);

impl NameHash {
    const NONE: Self = Self(0);

    #[inline]
    fn of(names: &[&str]) -> Self {
        names.iter().fold(Self::NONE, |names, name| names.and(name))
    }

    /// Adds a name. The first two and the last two letters count, without their case: so the hash of constant names is
    /// computed at compile time, and `userName` is written for `user_name`.
    #[inline]
    fn and(self, name: &str) -> Self {
        let letters = match *name.as_bytes() {
            [first, second, .., third, fourth] => [first, second, third, fourth],
            [first, second, third] => [first, second, third, third],
            [first, second] => [first, second, 0, 0],
            [first] => [first, 0, 0, 0],
            [] => [0; 4],
        };
        // The multiplier of Fibonacci hashing carries every earlier bit to the highest bits.
        Self((self.0 ^ (u32::from_le_bytes(letters) | LOWER_CASE)).wrapping_mul(0x9e37_79b1))
    }

    /// The hash of a struct's fields.
    #[inline]
    fn byte(self) -> u8 {
        self.0.to_be_bytes()[0]
    }

    /// The hash of a variant's name.
    #[inline]
    fn bytes(self) -> [u8; 2] {
        let [first, second, ..] = self.0.to_be_bytes();
        [first, second]
    }
}

/// The lowest stack address that nested values may use. Their depth is a property of the data, so it must be limited at
/// run time. The address is computed at the first nested value.
struct StackLimit(usize);

impl StackLimit {
    /// A limit that is not computed yet. Every address is below it, so the first check computes it.
    const UNKNOWN: Self = Self(usize::MAX);

    /// Checks that the stack has room for one more nested value. Recursive types recur in an option, an enum, a
    /// sequence or a map, so matching call this. `action` says what the thread does with the value, for the error.
    #[inline]
    fn enter_nested(&mut self, action: &'static str) -> Result<(), Error> {
        let here = 0_u8;
        let here = std::ptr::from_ref(&here).addr();
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

/// The name of a type, or of its variant, for errors.
#[derive(Clone, Copy)]
struct TypeName {
    name: &'static str,
    variant: &'static str,
}

impl TypeName {
    /// A sequence, a tuple or a map, which have no name.
    const NAMELESS: Self = Self::a("");

    const fn a(name: &'static str) -> Self {
        Self { name, variant: "" }
    }
}

impl fmt::Display for TypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name, self.variant) {
            ("", _) => f.write_str("one of its parts"),
            (name, "") => write!(f, "`{name}`"),
            (name, variant) => write!(f, "`{name}::{variant}`"),
        }
    }
}

/// Why a value cannot be written or read. Boxed to one word, because it is returned beside every value and is rare.
#[derive(Debug)]
pub(crate) struct Error(
    #[allow(clippy::box_collection, reason = "a box of one word keeps the `Result` small")] Box<String>,
);

impl Error {
    #[cold]
    fn new(why: impl fmt::Display) -> Self {
        Self(Box::new(why.to_string()))
    }

    /// The type must see the data before it knows its shape.
    #[cold]
    fn not_self_describing() -> Self {
        Self::new(
            "its type must see the data before it can read it, as with `serde(untagged)`, `serde(tag)`, \
             `serde(flatten)` or `serde_json::Value`: send it as text, or as a type with a fixed shape",
        )
    }

    /// The message announces more parts than its bytes can hold.
    #[cold]
    fn too_many() -> Self {
        Self::new(
            "it ends too early, or it has more than a million parts that hold nothing, as `()`: send their number \
             instead",
        )
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
            "{of} writes {written} fields and reads {read} (`serde(skip_serializing_if)`, `skip_serializing` or \
             `skip_deserializing`): remove the attribute, use `serde(skip)`, or send another type"
        ))
    }

    /// Both errors, because either may be the cause of the other.
    #[cold]
    #[allow(clippy::needless_pass_by_value, reason = "it was made for this")]
    fn or_perhaps(self, other: Self) -> Self {
        Self::new(format_args!("{self}; perhaps {other}"))
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

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl From<postcard::Error> for Error {
    #[cold]
    fn from(error: postcard::Error) -> Self {
        use postcard::Error as Reason;
        match error {
            Reason::WontImplement => Self::not_self_describing(),
            Reason::NotYetImplemented => Self::new("its type uses a part of serde that is not supported"),
            Reason::DeserializeUnexpectedEnd => Self::new("it ends too early"),
            other => Self::new(other),
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::NameHash;

    #[test]
    fn name_hashes_differ_by_name_and_not_by_case() {
        let of = NameHash::of;
        let same = [["id", "user_name"], ["ID", "userName"], ["Id", "UserName"], ["id", "USER-NAME"]];
        assert!(same.iter().all(|names| of(names).bytes() == of(&same[0]).bytes()));
        let others: [&[&str]; 7] = [
            &["id"],
            &["user_name", "id"],
            &["id", "name"],
            &["id", "user_name", ""],
            &["a"],
            &["b"],
            &["id", "total"],
        ];
        assert!(others.iter().all(|names| of(names).byte() != of(&same[0]).byte()));
    }
}
