//! The writing half of the strict codec.

#![allow(clippy::unnecessary_wraps, reason = "the methods of a serializer return a `Result`")]

use serde::Serialize;
use serde::ser::{
    SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple, SerializeTupleStruct,
    SerializeTupleVariant, Serializer,
};

use super::names::WrittenNames;
use super::{Error, StackLimit, tag};

/// Appends a value to `bytes`.
#[inline]
pub(in crate::process) fn write<T: Serialize + ?Sized>(value: &T, bytes: &mut Vec<u8>) -> Result<(), Error> {
    value.serialize(&mut Output { bytes, names: WrittenNames::default(), stack: StackLimit::UNKNOWN })
}

/// A message that is being written.
struct Output<'b> {
    bytes: &'b mut Vec<u8>,
    names: WrittenNames,
    stack: StackLimit,
}

/// A length or a count: seven bits a byte, the lowest first.
fn length_bytes(mut length: usize) -> impl Iterator<Item = u8> {
    let mut more = true;
    std::iter::from_fn(move || {
        more.then(|| {
            let low = length.to_le_bytes()[0] & 0x7f;
            length >>= 7;
            more = length > 0;
            if more { low | 0x80 } else { low }
        })
    })
}

impl<'b> Output<'b> {
    #[inline]
    fn push(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    #[inline]
    fn length(&mut self, length: usize) {
        if length < 0x80 { self.push(length.to_le_bytes()[0]) } else { self.bytes.extend(length_bytes(length)) }
    }

    /// Writes a tag and `N` bytes.
    #[inline]
    fn fixed<const N: usize>(&mut self, tag: u8, bytes: [u8; N]) -> Result<(), Error> {
        self.push(tag);
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    /// Writes an integer of `N` bytes whose highest set bit has the number `bits`: its lower 1, 2, 4, 8 or 16 bytes.
    #[inline]
    fn integer<const N: usize>(&mut self, tag: u8, bytes: [u8; N], bits: u32) -> Result<(), Error> {
        let used = bits.div_ceil(8).next_power_of_two();
        self.fixed(tag + used.trailing_zeros().to_le_bytes()[0], bytes)?;
        self.bytes.truncate(self.bytes.len() - (N - used as usize));
        Ok(())
    }

    #[inline]
    fn block(&mut self, tag: u8, bytes: &[u8]) -> Result<(), Error> {
        self.push(tag);
        self.length(bytes.len());
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Checks that the stack has room for nested values.
    #[inline]
    fn enter_nested(&mut self) -> Result<(), Error> {
        self.stack.enter_nested("writes", 0)
    }

    #[inline]
    fn name(&mut self, name: &'static str) {
        let (number, is_new) = self.names.number(name);
        self.push(number);
        if is_new {
            self.length(name.len());
            self.bytes.extend_from_slice(name.as_bytes());
        }
    }

    #[inline]
    fn variant(&mut self, tag: u8, index: u32, name: &'static str) -> Result<(), Error> {
        self.enter_nested()?;
        self.push(tag);
        self.length(index as usize);
        self.name(name);
        Ok(())
    }

    /// Begins parts. A count that is not known now, or is wrong, is corrected when they end.
    #[inline]
    fn parts<'a>(&'a mut self, tag: u8, announced: usize) -> Result<PartsWriter<'a, 'b>, Error> {
        self.enter_nested()?;
        let tag_at = self.bytes.len();
        self.push(tag);
        self.length(announced);
        Ok(PartsWriter { to: self, tag_at, announced, count: 0 })
    }
}

macro_rules! integers {
    ($($method:ident $type:ident $tag:ident, $signed:ident $signed_type:ident $signed_tag:ident)*) => {
        $(
            #[inline]
            fn $method(self, value: $type) -> Result<(), Error> {
                self.integer(tag::$tag, value.to_le_bytes(), $type::BITS - value.leading_zeros())
            }

            #[inline]
            fn $signed(self, value: $signed_type) -> Result<(), Error> {
                let value = (value << 1 ^ value >> ($type::BITS - 1)).cast_unsigned();
                self.integer(tag::$signed_tag, value.to_le_bytes(), $type::BITS - value.leading_zeros())
            }
        )*
    };
}

impl<'a, 'b> Serializer for &'a mut Output<'b> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = PartsWriter<'a, 'b>;
    type SerializeTuple = PartsWriter<'a, 'b>;
    type SerializeTupleStruct = PartsWriter<'a, 'b>;
    type SerializeTupleVariant = PartsWriter<'a, 'b>;
    type SerializeMap = PartsWriter<'a, 'b>;
    type SerializeStruct = PartsWriter<'a, 'b>;
    type SerializeStructVariant = PartsWriter<'a, 'b>;

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    integers! {
        serialize_u8 u8 U8, serialize_i8 i8 I8
        serialize_u16 u16 U16, serialize_i16 i16 I16
        serialize_u32 u32 U32, serialize_i32 i32 I32
        serialize_u64 u64 U64, serialize_i64 i64 I64
        serialize_u128 u128 U128, serialize_i128 i128 I128
    }

    #[inline]
    fn serialize_bool(self, value: bool) -> Result<(), Error> {
        self.fixed(if value { tag::TRUE } else { tag::FALSE }, [])
    }

    #[inline]
    fn serialize_f32(self, value: f32) -> Result<(), Error> {
        self.fixed(tag::F32, value.to_bits().to_le_bytes())
    }

    #[inline]
    fn serialize_f64(self, value: f64) -> Result<(), Error> {
        self.fixed(tag::F64, value.to_bits().to_le_bytes())
    }

    #[inline]
    fn serialize_char(self, value: char) -> Result<(), Error> {
        self.fixed(tag::CHAR, u32::from(value).to_le_bytes())
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), Error> {
        self.block(tag::STR, value.as_bytes())
    }

    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> Result<(), Error> {
        self.block(tag::BYTES, value)
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), Error> {
        self.fixed(tag::UNIT, [])
    }

    #[inline]
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        self.serialize_unit()
    }

    #[inline]
    fn serialize_none(self) -> Result<(), Error> {
        self.fixed(tag::NONE, [])
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        self.enter_nested()?;
        self.push(tag::SOME);
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_unit_variant(self, _: &'static str, index: u32, variant: &'static str) -> Result<(), Error> {
        self.variant(tag::UNIT_VARIANT, index, variant)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.variant(tag::VALUE_VARIANT, index, variant)?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<PartsWriter<'a, 'b>, Error> {
        self.parts(tag::ITEMS, len.unwrap_or(0))
    }

    #[inline]
    fn serialize_tuple(self, len: usize) -> Result<PartsWriter<'a, 'b>, Error> {
        self.parts(tag::ITEMS, len)
    }

    #[inline]
    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<PartsWriter<'a, 'b>, Error> {
        self.parts(tag::ITEMS, len)
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<PartsWriter<'a, 'b>, Error> {
        self.variant(tag::PARTS_VARIANT, index, variant)?;
        self.parts(tag::ITEMS, len)
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<PartsWriter<'a, 'b>, Error> {
        self.parts(tag::ENTRIES, len.unwrap_or(0))
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, len: usize) -> Result<PartsWriter<'a, 'b>, Error> {
        self.parts(tag::FIELDS, len)
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<PartsWriter<'a, 'b>, Error> {
        self.variant(tag::PARTS_VARIANT, index, variant)?;
        self.parts(tag::FIELDS, len)
    }
}

/// Writes the parts of a value, and counts them.
struct PartsWriter<'a, 'b> {
    to: &'a mut Output<'b>,
    /// The place of the tag; the count follows it.
    tag_at: usize,
    announced: usize,
    count: usize,
}

impl PartsWriter<'_, '_> {
    #[inline]
    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.count += 1;
        value.serialize(&mut *self.to)
    }

    #[inline]
    fn field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        self.to.name(name);
        self.part(value)
    }

    /// Writes that a field is left out, so that the reader can tell it from one that is never written.
    #[cold]
    fn left_out(&mut self, name: &'static str) {
        self.to.bytes[self.tag_at] = tag::SOME_FIELDS;
        self.count += 1;
        self.to.name(name);
        self.to.push(tag::SKIPPED);
    }

    #[inline]
    fn finish(self) -> Result<(), Error> {
        if self.count != self.announced {
            self.correct();
        }
        Ok(())
    }

    #[cold]
    fn correct(self) {
        let start = self.tag_at + 1;
        let end = start + length_bytes(self.announced).count();
        self.to.bytes.splice(start..end, length_bytes(self.count));
    }
}

/// Implements the traits for unnamed parts.
macro_rules! parts {
    ($($of:ident $method:ident)*) => {
        $(
            impl $of for PartsWriter<'_, '_> {
                type Ok = ();
                type Error = Error;

                #[inline]
                fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
                    self.part(value)
                }

                #[inline]
                fn end(self) -> Result<(), Error> {
                    self.finish()
                }
            }
        )*
    };
}
parts! {
    SerializeSeq serialize_element
    SerializeTuple serialize_element
    SerializeTupleStruct serialize_field
    SerializeTupleVariant serialize_field
}

impl SerializeMap for PartsWriter<'_, '_> {
    type Ok = ();
    type Error = Error;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.part(key)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        value.serialize(&mut *self.to)
    }

    #[inline]
    fn end(self) -> Result<(), Error> {
        self.finish()
    }
}

/// Implements the traits for named fields.
macro_rules! fields {
    ($($of:ident)*) => {
        $(
            impl $of for PartsWriter<'_, '_> {
                type Ok = ();
                type Error = Error;

                #[inline]
                fn serialize_field<T: Serialize + ?Sized>(
                    &mut self,
                    name: &'static str,
                    value: &T,
                ) -> Result<(), Error> {
                    self.field(name, value)
                }

                #[inline]
                fn skip_field(&mut self, name: &'static str) -> Result<(), Error> {
                    self.left_out(name);
                    Ok(())
                }

                #[inline]
                fn end(self) -> Result<(), Error> {
                    self.finish()
                }
            }
        )*
    };
}
fields!(SerializeStruct SerializeStructVariant);
