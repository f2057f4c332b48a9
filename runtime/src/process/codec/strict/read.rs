//! The reading half of the strict codec: postcard's deserializer, with checks of the numbers and hashes that the
//! writing half added.

#![allow(clippy::inline_always, reason = "inlined, the hash of a known struct's field names is a constant")]

use serde::Deserializer;
use serde::de::{DeserializeOwned, Visitor};

use super::input::{Input, ValueReader};
use super::read_enum::EnumReader;
use super::{Error, TypeName, kind};

/// Reads a value; returns it and the bytes behind it.
#[inline]
pub(in crate::process) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, &[u8]), Error> {
    let mut input = Input::new(bytes);
    let value = T::deserialize(ValueReader(&mut input))?;
    Ok((value, input.into_rest()?))
}

/// Forwards values without parts. postcard reads the value, and the visitor gets it from here, so the visitor's error
/// text is kept.
macro_rules! plain {
    ($($method:ident $visit:ident $type:ty)*) => {
        $(
            #[inline]
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
                visitor.$visit(self.0.take::<$type>()?)
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

    plain! {
        deserialize_bool visit_bool bool
        deserialize_i8 visit_i8 i8
        deserialize_i16 visit_i16 i16
        deserialize_i32 visit_i32 i32
        deserialize_i64 visit_i64 i64
        deserialize_i128 visit_i128 i128
        deserialize_u8 visit_u8 u8
        deserialize_u16 visit_u16 u16
        deserialize_u32 visit_u32 u32
        deserialize_u64 visit_u64 u64
        deserialize_u128 visit_u128 u128
        deserialize_f32 visit_f32 f32
        deserialize_f64 visit_f64 f64
        deserialize_char visit_char char
        deserialize_str visit_borrowed_str &'de str
        deserialize_string visit_borrowed_str &'de str
        deserialize_bytes visit_borrowed_bytes &'de [u8]
        deserialize_byte_buf visit_borrowed_bytes &'de [u8]
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.take::<u8>()? {
            0 => visitor.visit_none(),
            1 => {
                self.0.stack.enter_nested("reads")?;
                visitor.visit_some(self)
            }
            _ => Err(postcard::Error::DeserializeBadOption.into()),
        }
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.0.sequence(visitor)
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.0.tuple(TypeName::NAMELESS, len, visitor)
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.tuple(TypeName::a(name), len, visitor)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let (kind, mut parts) = self.0.parts()?;
        if kind != kind::ENTRIES {
            return Err(Error::new("it reads a map and writes none"));
        }
        let value = visitor.visit_map(&mut parts)?;
        parts.end()?;
        Ok(value)
    }

    #[inline(always)]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.fields(TypeName::a(name), fields, visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.stack.enter_nested("reads")?;
        visitor.visit_enum(EnumReader { from: self.0, name, variants })
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::not_self_describing())
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::not_self_describing())
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::not_self_describing())
    }
}
