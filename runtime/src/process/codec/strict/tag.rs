//! The byte before each value, which says what it is.

pub(super) const FALSE: u8 = 0;
pub(super) const TRUE: u8 = 1;
pub(super) const UNIT: u8 = 2;
pub(super) const NONE: u8 = 3;
/// A value follows.
pub(super) const SOME: u8 = 4;
/// 4 bytes.
pub(super) const F32: u8 = 5;
/// 8 bytes.
pub(super) const F64: u8 = 6;
/// 4 bytes, the code point.
pub(super) const CHAR: u8 = 7;
/// A length, and the text.
pub(super) const STR: u8 = 8;
/// A length, and the bytes.
pub(super) const BYTES: u8 = 9;
/// A count, and the elements of a sequence or a tuple.
pub(super) const ITEMS: u8 = 10;
/// A count, and each key and its value.
pub(super) const ENTRIES: u8 = 11;
/// A count, and each field's name and its value.
pub(super) const FIELDS: u8 = 12;
/// As `FIELDS`; some fields have [`SKIPPED`] in place of a value.
pub(super) const SOME_FIELDS: u8 = 13;
/// Stands in place of a field's value that `skip_serializing_if` leaves out.
pub(super) const SKIPPED: u8 = 14;
/// The variant's index and name.
pub(super) const UNIT_VARIANT: u8 = 15;
/// The variant's index and name, and a value.
pub(super) const VALUE_VARIANT: u8 = 16;
/// The variant's index and name, and `ITEMS`, `FIELDS` or `SOME_FIELDS` with its parts.
pub(super) const PARTS_VARIANT: u8 = 17;

/// The tags of integers: one for each type and number of bytes that follow (1, 2, 4, 8 or 16), because most numbers are
/// small. The sign is the lowest bit.
pub(super) const U8: u8 = 32;
pub(super) const U16: u8 = U8 + 1;
pub(super) const U32: u8 = U16 + 2;
pub(super) const U64: u8 = U32 + 3;
pub(super) const U128: u8 = U64 + 4;
pub(super) const I8: u8 = U128 + 5;
pub(super) const I16: u8 = I8 + 1;
pub(super) const I32: u8 = I16 + 2;
pub(super) const I64: u8 = I32 + 3;
pub(super) const I128: u8 = I64 + 4;
pub(super) const END: u8 = I128 + 5;
