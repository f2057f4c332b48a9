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

/// Calls a macro with all types of integers, unsigned and signed: the type, its first and last tag, and its methods of
/// a serializer, a deserializer and a visitor. There is a tag for each number of bytes that follow, 1, 2, 4, 8 or 16,
/// because most numbers are small. The sign is the lowest bit.
macro_rules! integers {
    ($with:ident) => {
        $with! {
            u8 32 32 serialize_u8 deserialize_u8 visit_u8, i8 47 47 serialize_i8 deserialize_i8 visit_i8;
            u16 33 34 serialize_u16 deserialize_u16 visit_u16, i16 48 49 serialize_i16 deserialize_i16 visit_i16;
            u32 35 37 serialize_u32 deserialize_u32 visit_u32, i32 50 52 serialize_i32 deserialize_i32 visit_i32;
            u64 38 41 serialize_u64 deserialize_u64 visit_u64, i64 53 56 serialize_i64 deserialize_i64 visit_i64;
            u128 42 46 serialize_u128 deserialize_u128 visit_u128,
                i128 57 61 serialize_i128 deserialize_i128 visit_i128;
        }
    };
}
pub(super) use integers;
