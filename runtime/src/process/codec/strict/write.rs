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

impl<'b> Output<'b> {
    /// Writes a tag and `N` bytes.
    #[inline]
    fn fixed<const N: usize>(&mut self, tag: u8, bytes: [u8; N]) -> Result<(), Error> {
        self.bytes.push(tag);
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
        self.fixed(tag, bytes.len().to_le_bytes())?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Checks that the stack has room for nested values.
    #[inline]
    fn enter_nested(&mut self) -> Result<(), Error> {
        self.stack.enter_nested("writes", 0)
    }

    #[inline]
    fn name(&mut self, name: Name) -> Result<(), Error> {
        let (number, is_new) = self.names.number(name);
        if is_new { self.block(number, name.as_bytes()) } else { self.fixed(number, []) }
    }

    #[inline]
    fn variant(&mut self, tag: u8, index: u32, name: Name) -> Result<(), Error> {
        self.enter_nested()?;
        self.fixed(tag, index.to_le_bytes())?;
        self.name(name)
    }

    /// Begins parts, whose number is written when they end.
    #[inline]
    fn parts<'a>(&'a mut self, tag: u8) -> Result<PartsWriter<'a, 'b>, Error> {
        self.enter_nested()?;
        let tag_at = self.bytes.len();
        self.fixed(tag, 0_usize.to_le_bytes())?;
        Ok(PartsWriter { to: self, tag_at, count: 0 })
    }
}

macro_rules! write_integers {
    ($($type:ident $tag:literal $_last:literal $method:ident $_read:ident $_visit:ident,
        $i:ident $i_tag:literal $_i_last:literal $i_method:ident $_i_read:ident $_i_visit:ident;)*) => {
        $(
            #[inline]
            fn $method(self, value: $type) -> Result<(), Error> {
                self.integer($tag, value.to_le_bytes(), $type::BITS - value.leading_zeros())
            }

            #[inline]
            fn $i_method(self, value: $i) -> Result<(), Error> {
                let value = (value << 1 ^ value >> ($type::BITS - 1)).cast_unsigned();
                self.integer($i_tag, value.to_le_bytes(), $type::BITS - value.leading_zeros())
            }
        )*
    };
}

/// The name of a type, a variant or a field.
type Name = &'static str;

/// Implements methods of a serializer: their arguments, what they return, and how they write.
macro_rules! writers {
    ($($method:ident($($argument:ident: $type:ty),*) -> $result:ty { |$to:ident| $write:expr })*) => {
        $(
            #[inline]
            fn $method(self, $($argument: $type),*) -> Result<$result, Error> {
                let $to = self;
                $write
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

    tag::integers!(write_integers);

    writers! {
        serialize_bool(value: bool) -> () { |to| to.fixed(if value { tag::TRUE } else { tag::FALSE }, []) }
        serialize_f32(value: f32) -> () { |to| to.fixed(tag::F32, value.to_le_bytes()) }
        serialize_f64(value: f64) -> () { |to| to.fixed(tag::F64, value.to_le_bytes()) }
        serialize_char(value: char) -> () { |to| to.fixed(tag::CHAR, u32::from(value).to_le_bytes()) }
        serialize_str(value: &str) -> () { |to| to.block(tag::STR, value.as_bytes()) }
        serialize_bytes(value: &[u8]) -> () { |to| to.block(tag::BYTES, value) }
        serialize_none() -> () { |to| to.fixed(tag::NONE, []) }
        serialize_unit() -> () { |to| to.fixed(tag::UNIT, []) }
        serialize_unit_struct(_of: Name) -> () { |to| to.fixed(tag::UNIT, []) }
        serialize_unit_variant(_of: Name, index: u32, variant: Name) -> () {
            |to| to.variant(tag::UNIT_VARIANT, index, variant)
        }
        serialize_seq(_len: Option<usize>) -> PartsWriter<'a, 'b> { |to| to.parts(tag::ITEMS) }
        serialize_tuple(_len: usize) -> PartsWriter<'a, 'b> { |to| to.parts(tag::ITEMS) }
        serialize_tuple_struct(_of: Name, _len: usize) -> PartsWriter<'a, 'b> { |to| to.parts(tag::ITEMS) }
        serialize_tuple_variant(_of: Name, index: u32, variant: Name, _len: usize) -> PartsWriter<'a, 'b> {
            |to| to.variant(tag::PARTS_VARIANT, index, variant).and_then(|()| to.parts(tag::ITEMS))
        }
        serialize_map(_len: Option<usize>) -> PartsWriter<'a, 'b> { |to| to.parts(tag::ENTRIES) }
        serialize_struct(_of: Name, _len: usize) -> PartsWriter<'a, 'b> { |to| to.parts(tag::FIELDS) }
        serialize_struct_variant(_of: Name, index: u32, variant: Name, _len: usize) -> PartsWriter<'a, 'b> {
            |to| to.variant(tag::PARTS_VARIANT, index, variant).and_then(|()| to.parts(tag::FIELDS))
        }
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        self.enter_nested()?;
        self.fixed(tag::SOME, [])?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: Name, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: Name,
        index: u32,
        variant: Name,
        value: &T,
    ) -> Result<(), Error> {
        self.variant(tag::VALUE_VARIANT, index, variant)?;
        value.serialize(self)
    }
}

/// Writes the parts of a value, and counts them.
struct PartsWriter<'a, 'b> {
    to: &'a mut Output<'b>,
    /// The place of the tag; the count follows it.
    tag_at: usize,
    count: usize,
}

impl PartsWriter<'_, '_> {
    #[inline]
    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.count += 1;
        value.serialize(&mut *self.to)
    }

    /// Writes that a field is left out, so that the reader can tell it from one that is never written.
    #[cold]
    fn left_out(&mut self, name: Name) -> Result<(), Error> {
        self.to.bytes[self.tag_at] = tag::SOME_FIELDS;
        self.count += 1;
        self.to.name(name)?;
        self.to.fixed(tag::SKIPPED, [])
    }

    #[inline]
    fn finish(self) -> Result<(), Error> {
        let count = self.count.to_le_bytes();
        self.to.bytes[self.tag_at + 1..][..count.len()].copy_from_slice(&count);
        Ok(())
    }
}

/// Implements the traits for parts, which may have names.
macro_rules! parts {
    ($($of:ident $method:ident $(($name:ident))?,)*) => {
        $(
            impl $of for PartsWriter<'_, '_> {
                type Ok = ();
                type Error = Error;

                #[inline]
                fn $method<T: Serialize + ?Sized>(
                    &mut self,
                    $($name: Name,)?
                    value: &T,
                ) -> Result<(), Error> {
                    $(self.to.name($name)?;)?
                    self.part(value)
                }

                $(
                    #[inline]
                    fn skip_field(&mut self, $name: Name) -> Result<(), Error> {
                        self.left_out($name)
                    }
                )?

                #[inline]
                fn end(self) -> Result<(), Error> {
                    self.finish()
                }
            }
        )*
    };
}
parts! {
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field,
    SerializeStruct serialize_field(name),
    SerializeStructVariant serialize_field(name),
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
