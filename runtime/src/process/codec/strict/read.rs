//! The reading half of the strict codec.

use serde::Deserializer;
use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer};
use serde::de::{DeserializeOwned, DeserializeSeed, IgnoredAny, MapAccess, Visitor};

use super::input::Input;
use super::read_enum::EnumReader;
use super::{Error, TypeName, tag};

/// Reads a value; returns it and the bytes behind it.
#[inline]
pub(in crate::process) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, &[u8]), Error> {
    match read_once(bytes, &[]) {
        Err(error) => read_by_name(bytes, error),
        read => read,
    }
}

/// Reads a value; the types with these fields by their names.
#[inline]
fn read_once<'de, T: DeserializeOwned>(
    bytes: &'de [u8],
    by_name: &'de [&'static [&'static str]],
) -> Result<(T, &'de [u8]), Error> {
    let mut input = Input::new(bytes, by_name);
    let value = T::deserialize(ValueReader::new(&mut input))?;
    Ok((value, input.bytes))
}

/// Reads a value once more, if the error says that a type reads structs only by their fields' names.
#[cold]
fn read_by_name<T: DeserializeOwned>(bytes: &[u8], mut error: Error) -> Result<(T, &[u8]), Error> {
    let mut by_name = Vec::new();
    while let Some(fields) = error.wants_names() {
        by_name.push(fields);
        match read_once::<T>(bytes, &by_name) {
            Ok((value, rest)) => return Ok((value, &bytes[bytes.len() - rest.len()..])),
            Err(next) => error = next,
        }
    }
    Err(error)
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
    fn take(&mut self, tag: u8) -> Result<bool, Error> {
        let is = self.from.peek()? == tag;
        if is {
            self.from.bytes = &self.from.bytes[1..];
        }
        Ok(is)
    }

    /// Takes the next tag if it is one of `count` tags from this one on; returns which.
    #[inline]
    fn take_of(&mut self, tag: u8, count: u8) -> Result<Option<u8>, Error> {
        let which = self.from.peek()?.wrapping_sub(tag);
        if which >= count {
            return Ok(None);
        }
        self.from.bytes = &self.from.bytes[1..];
        Ok(Some(which))
    }

    /// Reads a value as what it was written, for a type that must see it first, or that was written as another type.
    #[inline(never)]
    pub(super) fn any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let before = self.from.bytes;
        match self.from.byte()? {
            tag::UNIT => visitor.visit_unit(),
            tag::NONE => visitor.visit_none(),
            tag::FALSE => visitor.visit_bool(false),
            tag::TRUE => visitor.visit_bool(true),
            // Only an option of nothing must be told from nothing: many types expect the value itself.
            tag::SOME => self.from.copied(|from| match from.bytes.first() {
                Some(&(tag::UNIT | tag::NONE | tag::SOME)) => visitor.visit_some(ValueReader::new(from)),
                _ => ValueReader::new(from).any(visitor),
            }),
            tag::ITEMS => self.from.copied(|from| from.sequence(false, visitor)),
            tag::ENTRIES => self.from.copied(|from| from.map(false, visitor)),
            tag::FIELDS | tag::SOME_FIELDS => self.from.copied(|from| from.map(true, visitor)),
            tag::UNIT_VARIANT => {
                self.from.length()?;
                visitor.visit_borrowed_str(self.from.name()?.text)
            }
            tag::VALUE_VARIANT | tag::PARTS_VARIANT => self.from.copied(|from| {
                from.length()?;
                let name = Some(from.name()?.text);
                let mut entry = VariantEntry { name, has_value: true, from };
                let value = visitor.visit_map(&mut entry)?;
                if entry.has_value { Err(Error::new("it reads fewer parts than it writes")) } else { Ok(value) }
            }),
            first => {
                self.from.bytes = before;
                match first {
                    tag::F32 => self.deserialize_f32(visitor),
                    tag::F64 => self.deserialize_f64(visitor),
                    tag::CHAR => self.deserialize_char(visitor),
                    tag::STR => self.deserialize_str(visitor),
                    tag::BYTES => self.deserialize_bytes(visitor),
                    tag::U8..tag::U16 => self.deserialize_u8(visitor),
                    tag::U16..tag::U32 => self.deserialize_u16(visitor),
                    tag::U32..tag::U64 => self.deserialize_u32(visitor),
                    tag::U64..tag::U128 => self.deserialize_u64(visitor),
                    tag::U128..tag::I8 => self.deserialize_u128(visitor),
                    tag::I8..tag::I16 => self.deserialize_i8(visitor),
                    tag::I16..tag::I32 => self.deserialize_i16(visitor),
                    tag::I32..tag::I64 => self.deserialize_i32(visitor),
                    tag::I64..tag::I128 => self.deserialize_i64(visitor),
                    tag::I128..tag::END => self.deserialize_i128(visitor),
                    _ => Err(Error::new("it has a value of an unknown kind")),
                }
            }
        }
    }
}

macro_rules! integers {
    ($read:ident: $($method:ident $visit:ident $type:ident $tag:ident $sizes:literal,
        $signed:ident $visit_signed:ident $signed_tag:ident)*) => {
        $(
            #[inline]
            #[allow(clippy::cast_possible_truncation, reason = "a tag of the type has no more bytes")]
            fn $method<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
                match self.take_of(tag::$tag, $sizes)? {
                    Some(size) => visitor.$visit(self.from.$read(size)? as $type),
                    None => self.any(visitor),
                }
            }

            #[inline]
            #[allow(clippy::cast_possible_truncation, reason = "a tag of the type has no more bytes")]
            fn $signed<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
                match self.take_of(tag::$signed_tag, $sizes)? {
                    Some(size) => {
                        let value = self.from.$read(size)? as $type;
                        visitor.$visit_signed((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
                    }
                    None => self.any(visitor),
                }
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

    integers! { integer:
        deserialize_u8 visit_u8 u8 U8 1, deserialize_i8 visit_i8 I8
        deserialize_u16 visit_u16 u16 U16 2, deserialize_i16 visit_i16 I16
        deserialize_u32 visit_u32 u32 U32 3, deserialize_i32 visit_i32 I32
        deserialize_u64 visit_u64 u64 U64 4, deserialize_i64 visit_i64 I64
    }
    integers! { wide_integer:
        deserialize_u128 visit_u128 u128 U128 5, deserialize_i128 visit_i128 I128
    }

    #[inline]
    fn deserialize_bool<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        match self.take_of(tag::FALSE, 2)? {
            Some(value) => visitor.visit_bool(value == 1),
            None => self.any(visitor),
        }
    }

    #[inline]
    fn deserialize_f32<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        if !self.take(tag::F32)? {
            return self.any(visitor);
        }
        visitor.visit_f32(f32::from_bits(u32::from_le_bytes(self.from.array()?)))
    }

    #[inline]
    fn deserialize_f64<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        if !self.take(tag::F64)? {
            return self.any(visitor);
        }
        visitor.visit_f64(f64::from_bits(u64::from_le_bytes(self.from.array()?)))
    }

    #[inline]
    fn deserialize_char<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        if !self.take(tag::CHAR)? {
            return self.any(visitor);
        }
        let letter = char::from_u32(u32::from_le_bytes(self.from.array()?));
        visitor.visit_char(letter.ok_or_else(|| Error::new("it has an invalid `char`"))?)
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        if !self.take(tag::STR)? {
            return self.any(visitor);
        }
        visitor.visit_borrowed_str(self.from.text()?)
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    #[inline]
    fn deserialize_bytes<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        if !self.take(tag::BYTES)? {
            return self.any(visitor);
        }
        visitor.visit_borrowed_bytes(self.from.block()?)
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_bytes(visitor)
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
    fn deserialize_unit<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        if self.take(tag::UNIT)? { visitor.visit_unit() } else { self.any(visitor) }
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_unit(visitor)
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        if self.take(tag::ITEMS)? {
            return self.from.sequence(false, visitor);
        }
        // A struct may be read as the sequence of its fields.
        if self.take(tag::FIELDS)? { self.from.sequence(true, visitor) } else { self.any(visitor) }
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.from.tuple(TypeName::NAMELESS, len, visitor)
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.from.tuple(TypeName::a(name), len, visitor)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        if self.take(tag::ENTRIES)? { self.from.map(false, visitor) } else { self.any(visitor) }
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.from.fields(TypeName::a(name), fields, visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        variants: &'static [&'static str],
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
                let mut entries = self.from.parts(false)?;
                let value = visitor.visit_enum(MapAccessDeserializer::new(&mut entries))?;
                entries.end()?;
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
            return Err(Error::unread());
        }
        self.any(IgnoredAny)?;
        visitor.visit_unit()
    }
}

/// The map of a variant's name to its content, which a type gets that must see the data first.
struct VariantEntry<'a, 'de> {
    name: Option<&'de str>,
    has_value: bool,
    from: &'a mut Input<'de>,
}

impl<'de> MapAccess<'de> for VariantEntry<'_, 'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        self.name.take().map(|name| seed.deserialize(BorrowedStrDeserializer::new(name))).transpose()
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        self.has_value = false;
        seed.deserialize(ValueReader::new(self.from))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.name.iter().len())
    }
}
