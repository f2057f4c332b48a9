//! Values that are read as they were written, or refused.
//!
//! postcard writes the parts of a value one behind the other, and nothing else: a type that leaves a field out when it
//! is written and not when it is read (`serde(skip_serializing_if)`, `skip_serializing`, `skip_deserializing`) takes
//! the bytes of the next one for it, and nobody is told. So what has parts says here how many there are:
//!
//! | what | before it | behind it |
//! |---|---|---|
//! | a sequence, a tuple, a map | the number of its parts, and their kind | |
//! | a struct | the same | a byte that its fields' names make |
//! | a variant of an enum | its number and its shape, two bytes that its name makes | |
//!
//! The reader compares all of it with what it is about to read. It is asked for a variant by its name: serde counts
//! variants that are skipped when it writes, and does not when it reads.
//!
//! All else is postcard's (`Writer` and `Reader` are thin), but for the reasons that types give for a refusal: postcard
//! forgets them.

mod read;
mod read_enum;
mod write;

use std::fmt;

use crate::process::os;
pub(in crate::process) use read::read;
pub(in crate::process) use write::write;

/// Kinds of parts, in the low bits of their number.
mod kind {
    /// One behind the other.
    pub(crate) const ITEMS: u64 = 0;
    /// With names.
    pub(crate) const FIELDS: u64 = 1;
    /// Keys and values.
    pub(crate) const ENTRIES: u64 = 2;
}

/// What a variant holds, in the low bits of its number.
mod shape {
    pub(crate) const UNIT: u64 = 0;
    pub(crate) const VALUE: u64 = 1;
    pub(crate) const PARTS: u64 = 2;
}

/// The low bits that hold a kind or a shape.
const BITS: u32 = 2;

/// The bit of a number's byte, as postcard writes it, that says that more follow.
const MORE: u8 = 0x80;

/// The bit that tells `a` from `A`, in each of four letters.
const LOWER_CASE: u32 = 0x2020_2020;

/// What stands for names, one after the other.
#[derive(Clone, Copy)]
struct NameHash(u32);

impl NameHash {
    const NONE: Self = Self(0);

    #[inline]
    fn of(names: &[&str]) -> Self {
        names.iter().fold(Self::NONE, |names, name| names.and(name))
    }

    /// The names so far, and one more. TypeName it count the first and the last letters, whatever their case: so it costs
    /// nothing where names are constants, and `userName` is written for `user_name`.
    #[inline]
    fn and(self, name: &str) -> Self {
        let letters = match *name.as_bytes() {
            [first, second, .., third, fourth] => [first, second, third, fourth],
            [first, second, third] => [first, second, third, third],
            [first, second] => [first, second, 0, 0],
            [first] => [first, 0, 0, 0],
            [] => [0; 4],
        };
        // The multiplier of Fibonacci hashing: all that came before reaches the highest bits.
        Self((self.0 ^ (u32::from_le_bytes(letters) | LOWER_CASE)).wrapping_mul(0x9e37_79b1))
    }

    /// For the fields of a struct.
    #[inline]
    fn byte(self) -> u8 {
        self.0.to_be_bytes()[0]
    }

    /// For a variant.
    #[inline]
    fn bytes(self) -> [u8; 2] {
        let [first, second, ..] = self.0.to_be_bytes();
        [first, second]
    }
}

/// The address above which the stack may be used by values within values: how deep they are, the data says. The first
/// nested value asks the system for it.
struct StackLimit(usize);

impl StackLimit {
    /// A stack that nobody has asked for.
    const UNKNOWN: Self = Self(usize::MAX);

    /// Checks that there is stack for one more value within this one. Types that contain themselves do so in an option,
    /// an enum, a sequence or a map. The action names what the thread does with the values, in an error.
    #[inline]
    fn nest(&mut self, action: &'static str) -> Result<(), Error> {
        let here = 0_u8;
        let here = std::ptr::from_ref(&here).addr();
        if here < self.0 { self.nest_below(here, action) } else { Ok(()) }
    }

    #[cold]
    fn nest_below(&mut self, here: usize, action: &'static str) -> Result<(), Error> {
        if self.0 == Self::UNKNOWN.0 {
            self.0 = os::stack_limit();
        }
        if here < self.0 { Err(Error::too_deep(action)) } else { Ok(()) }
    }
}

/// A type, or a variant of it, in an error.
#[derive(Clone, Copy)]
struct TypeName {
    name: &'static str,
    variant: &'static str,
}

impl TypeName {
    /// A sequence, a tuple or a map.
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

/// Why a value cannot be written or read. A box: it is rare, and values are returned beside it.
#[derive(Debug)]
pub(crate) struct Error(#[allow(clippy::box_collection, reason = "one word, as no error is none")] Box<String>);

impl Error {
    #[cold]
    fn new(why: impl fmt::Display) -> Self {
        Self(Box::new(why.to_string()))
    }

    /// The type must know what comes.
    #[cold]
    fn blind() -> Self {
        Self::new(
            "its type must see the data before it can read it, as with `serde(untagged)`, `serde(tag)`, \
             `serde(flatten)` or `serde_json::Value`: send it as text, or as a type with a fixed shape",
        )
    }

    /// More parts than there can be in its bytes.
    #[cold]
    fn too_many() -> Self {
        Self::new(
            "it ends too early, or it has more than a million parts that hold nothing, as `()`: send their number instead",
        )
    }

    /// More values within values than the stack holds of the thread that reads or writes them.
    #[cold]
    fn too_deep(action: &str) -> Self {
        Self::new(format_args!(
            "its values are nested too deep for the stack of the thread that {action} it: send them flat, as a `Vec` \
             whose values refer to each other by index, or give the thread more stack (`RUST_MIN_STACK`; for a worker \
             process `ulimit -s`)"
        ))
    }

    /// What is written is not what is read.
    #[cold]
    fn differs(of: TypeName, written: usize, read: usize) -> Self {
        Self::new(format_args!(
            "{of} writes {written} fields and reads {read} (`serde(skip_serializing_if)`, `skip_serializing` or \
             `skip_deserializing`): remove the attribute, use `serde(skip)`, or send another type"
        ))
    }

    /// Both, as either may be the reason of the other.
    #[cold]
    #[allow(clippy::needless_pass_by_value, reason = "it was made for this")]
    fn perhaps(self, other: Self) -> Self {
        Self::new(format_args!("{self}; perhaps {other}"))
    }

    /// As many fields, but others.
    #[cold]
    fn other_names(of: TypeName) -> Self {
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
            Reason::WontImplement => Self::blind(),
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
    fn names_are_told_apart_but_not_their_cases() {
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
