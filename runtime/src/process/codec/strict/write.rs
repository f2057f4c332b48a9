//! The writing half of the strict codec: postcard's serializer, with the number of parts before each sequence, tuple,
//! struct and map.

use std::fmt;

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::ser::{
    SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple, SerializeTupleStruct,
    SerializeTupleVariant, Serializer,
};

use super::{BITS, Error, MORE, NameHash, StackLimit, TypeName, kind, shape};

/// Appends a value to `bytes`.
#[inline]
pub(in crate::process) fn write<T: Serialize + ?Sized>(value: &T, bytes: &mut Vec<u8>) -> Result<(), Error> {
    value.serialize(ValueWriter(&mut Postcard { output: VecFlavor { bytes, stack: StackLimit::UNKNOWN } }))
}

type Postcard<'b> = postcard::Serializer<VecFlavor<'b>>;

/// Byte strings up to this length are copied byte by byte. A number of 64 bits has at most 10 bytes.
const MAX_INLINE_COPY: usize = 10;

/// The output of postcard's serializer: a growing vector, and the stack limit of nested values.
struct VecFlavor<'a> {
    bytes: &'a mut Vec<u8>,
    stack: StackLimit,
}

impl Flavor for VecFlavor<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.bytes.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        if bytes.len() > MAX_INLINE_COPY {
            self.bytes.extend_from_slice(bytes);
            return Ok(());
        }
        // Most writes are numbers of one or a few bytes, for which a call of `memcpy` takes longer than this loop.
        self.bytes.reserve(MAX_INLINE_COPY);
        bytes.iter().for_each(|byte| self.bytes.push(*byte));
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

struct ValueWriter<'a, 'b>(&'a mut Postcard<'b>);

impl<'a, 'b> ValueWriter<'a, 'b> {
    /// Checks that the stack has room for nested values.
    #[inline]
    fn enter_nested(&mut self) -> Result<(), Error> {
        self.0.output.stack.enter_nested("writes")
    }

    /// Writes a number and the `bits` below it. Most numbers are constants below 32, which take one byte.
    #[inline]
    fn word(&mut self, number: u64, bits: u64) -> Result<(), Error> {
        let word = number << BITS | bits;
        match u8::try_from(word) {
            Ok(byte) if byte < MORE => self.0.output.try_push(byte)?,
            _ => self.long(word)?,
        }
        Ok(())
    }

    #[cold]
    fn long(&mut self, word: u64) -> postcard::Result<()> {
        (&mut *self.0).serialize_u64(word)
    }

    #[inline]
    fn parts(mut self, kind: u64, len: usize, of: TypeName) -> Result<PartsWriter<'a, 'b>, Error> {
        self.enter_nested()?;
        self.word(len as u64, kind)?;
        Ok(PartsWriter { to: self.0, of, left: len, names: NameHash::NONE })
    }

    #[inline]
    fn variant(&mut self, index: u32, shape: u64, name: &'static str) -> Result<(), Error> {
        self.word(index.into(), shape)?;
        self.0.output.try_extend(&NameHash::NONE.and(name).bytes())?;
        Ok(())
    }
}

/// Forwards values without parts to postcard.
macro_rules! plain {
    ($($method:ident $type:ty)*) => {
        $(
            #[inline]
            fn $method(self, value: $type) -> Result<(), Error> {
                Ok(self.0.$method(value)?)
            }
        )*
    };
}

impl<'a, 'b> Serializer for ValueWriter<'a, 'b> {
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

    plain! {
        serialize_bool bool
        serialize_i8 i8 serialize_i16 i16 serialize_i32 i32 serialize_i64 i64 serialize_i128 i128
        serialize_u8 u8 serialize_u16 u16 serialize_u32 u32 serialize_u64 u64 serialize_u128 u128
        serialize_f32 f32 serialize_f64 f64
        serialize_char char serialize_str &str serialize_bytes &[u8] serialize_unit_struct &'static str
    }

    #[inline]
    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Result<(), Error> {
        Ok(self.0.collect_str(value)?)
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), Error> {
        Ok(self.0.serialize_unit()?)
    }

    #[inline]
    fn serialize_none(self) -> Result<(), Error> {
        Ok(self.0.serialize_none()?)
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(mut self, value: &T) -> Result<(), Error> {
        self.enter_nested()?;
        (&mut *self.0).serialize_u8(1)?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_unit_variant(mut self, _: &'static str, index: u32, variant: &'static str) -> Result<(), Error> {
        self.variant(index, shape::UNIT, variant)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        mut self,
        _: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.enter_nested()?;
        self.variant(index, shape::VALUE, variant)?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<PartsWriter<'a, 'b>, Error> {
        let len = len.ok_or_else(|| Error::new("one of its sequences does not know its length"))?;
        self.parts(kind::ITEMS, len, TypeName::NAMELESS)
    }

    #[inline]
    fn serialize_tuple(self, len: usize) -> Result<PartsWriter<'a, 'b>, Error> {
        self.parts(kind::ITEMS, len, TypeName::NAMELESS)
    }

    #[inline]
    fn serialize_tuple_struct(self, name: &'static str, len: usize) -> Result<PartsWriter<'a, 'b>, Error> {
        self.parts(kind::ITEMS, len, TypeName::a(name))
    }

    #[inline]
    fn serialize_tuple_variant(
        mut self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<PartsWriter<'a, 'b>, Error> {
        self.variant(index, shape::PARTS, variant)?;
        self.parts(kind::ITEMS, len, TypeName { name, variant })
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<PartsWriter<'a, 'b>, Error> {
        let len =
            len.ok_or_else(|| Error::new("one of its maps does not know its length, as with `serde(flatten)`"))?;
        self.parts(kind::ENTRIES, len, TypeName::NAMELESS)
    }

    #[inline]
    fn serialize_struct(self, name: &'static str, len: usize) -> Result<PartsWriter<'a, 'b>, Error> {
        self.parts(kind::FIELDS, len, TypeName::a(name))
    }

    #[inline]
    fn serialize_struct_variant(
        mut self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<PartsWriter<'a, 'b>, Error> {
        self.variant(index, shape::PARTS, variant)?;
        self.parts(kind::FIELDS, len, TypeName { name, variant })
    }
}

/// Writes the parts of a value, and counts them.
struct PartsWriter<'a, 'b> {
    to: &'a mut Postcard<'b>,
    of: TypeName,
    left: usize,
    names: NameHash,
}

impl PartsWriter<'_, '_> {
    #[inline]
    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.left = self.left.wrapping_sub(1);
        value.serialize(ValueWriter(self.to))
    }

    #[inline]
    fn field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        self.names = self.names.and(name);
        self.part(value)
    }

    #[inline]
    fn finish(self) -> Result<(), Error> {
        if self.left == 0 { Ok(()) } else { Err(self.miscounted()) }
    }

    #[inline]
    fn finish_fields(self) -> Result<(), Error> {
        self.to.output.try_push(self.names.byte())?;
        self.finish()
    }

    #[cold]
    fn miscounted(&self) -> Error {
        Error::new(format_args!("{} announces another number of parts than it writes", self.of))
    }

    #[cold]
    fn left_out(&self, field: &str) -> Error {
        Error::new(format_args!(
            "{} leaves its field `{field}` out (`serde(skip_serializing_if)`), but would read it: remove the \
             attribute, use `serde(skip)`, or send another type",
            self.of
        ))
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
        value.serialize(ValueWriter(self.to))
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
                    Err(self.left_out(name))
                }

                #[inline]
                fn end(self) -> Result<(), Error> {
                    self.finish_fields()
                }
            }
        )*
    };
}
fields!(SerializeStruct SerializeStructVariant);
