//! The reading half of the strict codec.

use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer};
use serde::de::{DeserializeOwned, IgnoredAny, Visitor};
use serde::{Deserializer, forward_to_deserialize_any};

use super::input::{Fields, Input};
use super::parts::PartsReader;
use super::read_enum::EnumReader;
use super::{Error, TypeName, tag};

/// Reads a value; returns it and the bytes behind it.
#[inline]
pub(in crate::process) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, &[u8]), Error> {
    let mut by_name = Vec::new();
    loop {
        let mut input = Input::new(bytes, &by_name);
        match T::deserialize(ValueReader::new(&mut input)) {
            Ok(value) => return Ok((value, &bytes[bytes.len() - input.bytes.len()..])),
            Err(error) => by_name.push(input.wants_names.ok_or(error)?),
        }
    }
}

pub(super) struct ValueReader<'a, 'de> {
    pub(super) from: &'a mut Input<'de>,
    /// Whether this is a field of a struct that is read by name. If the type ignores it, it would be lost.
    pub(super) of_struct: bool,
}

impl<'a, 'de> ValueReader<'a, 'de> {
    #[inline]
    pub(super) fn new(from: &'a mut Input<'de>) -> Self {
        Self { from, of_struct: false }
    }

    /// Takes the next tag if it is this one.
    #[inline]
    pub(super) fn take(&mut self, tag: u8) -> Result<bool, Error> {
        Ok(self.take_of(tag, tag)?.is_some())
    }

    /// Takes the next tag if it is one from `first` to `last`; returns which.
    #[inline]
    fn take_of(&mut self, first: u8, last: u8) -> Result<Option<u8>, Error> {
        let which = self.from.peek()?.wrapping_sub(first);
        if which > last - first {
            return Ok(None);
        }
        self.from.bytes = &self.from.bytes[1..];
        Ok(Some(which))
    }

    /// Reads a value as what it was written, for a type that must see it first, or that was written as another type.
    #[inline(never)]
    pub(super) fn any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.from.reserved += STACK_PER_LEVEL;
        let value = self.from.any(visitor);
        self.from.reserved -= STACK_PER_LEVEL;
        value
    }
}

/// The stack that one level of a value uses when serde reads it from a copy, as for `serde(untagged)`, in bytes.
const STACK_PER_LEVEL: usize = 2 << 10;

impl<'de> Input<'de> {
    fn any<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Error> {
        let before = self.bytes;
        match self.byte()? {
            tag::SOME => {
                self.enter_nested()?;
                // Only an option of nothing must be told from nothing: many types expect the value itself.
                match self.peek()? {
                    tag::UNIT | tag::NONE | tag::SOME => visitor.visit_some(ValueReader::new(self)),
                    _ => ValueReader::new(self).any(visitor),
                }
            }
            tag::ITEMS => self.parts(false)?.sequence(visitor),
            tag::ENTRIES => self.parts(false)?.map(visitor),
            tag::FIELDS | tag::SOME_FIELDS => self.parts(true)?.map(visitor),
            // A map of the variant's name to its content.
            tag::VALUE_VARIANT | tag::PARTS_VARIANT => {
                self.enter_nested()?;
                self.array::<4>()?;
                PartsReader::new(self, 1, true).map(visitor)
            }
            _ => {
                self.bytes = before;
                self.plain(visitor)
            }
        }
    }

    /// Reads a value in which there are no others.
    fn plain<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Error> {
        macro_rules! integer {
            ($($_type:ident $tag:literal $last:literal $_write:ident $method:ident $_visit:ident,
                $_i:ident $i_tag:literal $i_last:literal $_i_write:ident $i_method:ident $_i_visit:ident;)*) => {
                match self.peek()? {
                    $($tag..=$last => return ValueReader::new(self).$method(visitor),
                    $i_tag..=$i_last => return ValueReader::new(self).$i_method(visitor),)*
                    _ => self.byte()?,
                }
            };
        }
        match tag::integers!(integer) {
            tag::F32 => visitor.visit_f32(f32::from_le_bytes(self.array()?)),
            tag::F64 => visitor.visit_f64(f64::from_le_bytes(self.array()?)),
            tag::UNIT => visitor.visit_unit(),
            tag::NONE => visitor.visit_none(),
            tag::FALSE => visitor.visit_bool(false),
            tag::TRUE => visitor.visit_bool(true),
            tag::CHAR => {
                let letter = char::from_u32(u32::from_le_bytes(self.array()?));
                visitor.visit_char(letter.ok_or_else(|| Error::new("it has an invalid `char`"))?)
            }
            tag::STR => visitor.visit_borrowed_str(self.text()?),
            tag::BYTES => visitor.visit_borrowed_bytes(self.block()?),
            tag::UNIT_VARIANT => {
                self.array::<4>()?;
                visitor.visit_borrowed_str(self.name()?.text)
            }
            _ => Err(Error::new("it has a value of an unknown kind")),
        }
    }
}

macro_rules! read_integers {
    ($($type:ident $tag:literal $last:literal $_write:ident $method:ident $visit:ident,
        $i:ident $i_tag:literal $i_last:literal $_i_write:ident $i_method:ident $i_visit:ident;)*) => {
        $(
            #[inline]
            #[allow(clippy::cast_possible_truncation, reason = "a tag of the type has no more bytes")]
            fn $method<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
                match self.take_of($tag, $last)? {
                    Some(size) => visitor.$visit(self.from.integer(size)? as $type),
                    None => self.any(visitor),
                }
            }

            #[inline]
            #[allow(clippy::cast_possible_truncation, reason = "a tag of the type has no more bytes")]
            fn $i_method<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
                match self.take_of($i_tag, $i_last)? {
                    Some(size) => {
                        let value = self.from.integer(size)? as $type;
                        visitor.$i_visit((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
                    }
                    None => self.any(visitor),
                }
            }
        )*
    };
}

/// Implements methods of a deserializer that expect one tag: how they read what is behind it.
macro_rules! readers {
    ($($method:ident $tag:ident { |$from:ident, $visitor:ident| $read:expr })*) => {
        $(
            #[inline]
            fn $method<V: Visitor<'de>>(mut self, $visitor: V) -> Result<V::Value, Error> {
                if !self.take(tag::$tag)? {
                    return self.any($visitor);
                }
                let $from = self.from;
                $read
            }
        )*
    };
}

impl<'de> Deserializer<'de> for ValueReader<'_, 'de> {
    type Error = Error;

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    tag::integers!(read_integers);

    #[inline]
    fn deserialize_bool<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        match self.take_of(tag::FALSE, tag::TRUE)? {
            Some(value) => visitor.visit_bool(value == 1),
            None => self.any(visitor),
        }
    }

    readers! {
        deserialize_f32 F32 { |from, visitor| visitor.visit_f32(f32::from_le_bytes(from.array()?)) }
        deserialize_f64 F64 { |from, visitor| visitor.visit_f64(f64::from_le_bytes(from.array()?)) }
        deserialize_str STR { |from, visitor| visitor.visit_borrowed_str(from.text()?) }
        deserialize_map ENTRIES { |from, visitor| from.parts(false)?.map(visitor) }
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        match self.from.peek()? {
            tag::NONE | tag::UNIT => return self.any(visitor),
            tag::SOME => {
                self.take(tag::SOME)?;
                self.from.enter_nested()?;
            }
            // What is written as its own value, and read as an option.
            _ => {}
        }
        visitor.visit_some(self)
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        // A struct may be read as the sequence of its fields.
        let named = self.take(tag::FIELDS)?;
        if !named && !self.take(tag::ITEMS)? {
            return self.any(visitor);
        }
        self.from.parts(named)?.sequence(visitor)
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.tuple(TypeName("", ""), len, visitor)
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.tuple(TypeName(name, ""), len, visitor)
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: Fields,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.fields(TypeName(name, ""), fields, visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        variants: Fields,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.from.enter_nested()?;
        match self.from.peek()? {
            tag::UNIT_VARIANT | tag::VALUE_VARIANT | tag::PARTS_VARIANT => {
                visitor.visit_enum(EnumReader { from: self.from, name, variants })
            }
            // A variant may be written by hand, as its name or as a map of its name to its content.
            tag::STR => {
                self.take(tag::STR)?;
                visitor.visit_enum(BorrowedStrDeserializer::new(self.from.text()?))
            }
            tag::ENTRIES => {
                self.take(tag::ENTRIES)?;
                let mut parts = self.from.parts(false)?;
                let value = visitor.visit_enum(MapAccessDeserializer::new(&mut parts))?;
                parts.end()?;
                Ok(value)
            }
            _ => self.any(visitor),
        }
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.any(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.from.is_enum_tag = self.from.peek()? == tag::UNIT_VARIANT;
        self.any(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.of_struct {
            self.from.has_unread_field = true;
            return Err(Error::new("it does not read one of its fields"));
        }
        self.any(IgnoredAny)?;
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { char bytes byte_buf unit unit_struct }
}
