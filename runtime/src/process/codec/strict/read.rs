//! Reading: postcard's deserializer, and what stands before parts compared with what is asked for.

#![allow(clippy::inline_always, reason = "where a struct is known, so are its names: they need not be looked at")]

use postcard::de_flavors::Slice;
use serde::de::{DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::read_enum::EnumReader;
use super::{BITS, Error, MORE, NameHash, StackLimit, TypeName, kind};

/// Reads a value; gives it, and the bytes behind it.
#[inline]
pub(in crate::process) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, &[u8]), Error> {
    let max_hint = bytes.len();
    let bytes = postcard::Deserializer::from_bytes(bytes);
    let mut input =
        Input { bytes, max_hint, parts: max_hint.saturating_add(MAX_EMPTY_PARTS), stack: StackLimit::UNKNOWN };
    let value = T::deserialize(ValueReader(&mut input))?;
    Ok((value, input.bytes.finalize()?))
}

pub(super) struct Input<'de> {
    bytes: postcard::Deserializer<'de, Slice<'de>>,
    /// More parts are not to be prepared for, whatever the bytes say.
    max_hint: usize,
    /// PartsReader that may still come. Each but an [`MAX_EMPTY_PARTS`] one has a byte at least that is of no other.
    parts: usize,
    stack: StackLimit,
}

/// PartsReader that take no bytes, as `()`, in one value at max_hint: else a few bytes could ask for years of reading.
const MAX_EMPTY_PARTS: usize = 1 << 20;

impl<'de> Input<'de> {
    #[inline]
    pub(super) fn take<T: Deserialize<'de>>(&mut self) -> Result<T, Error> {
        Ok(T::deserialize(&mut self.bytes)?)
    }

    /// A kind or a shape, and the number above it.
    #[inline]
    pub(super) fn split(&mut self) -> Result<(u64, u64), Error> {
        let first: u8 = self.take()?;
        let word = if first < MORE { first.into() } else { self.long(first)? };
        Ok((word & ((1 << BITS) - 1), word >> BITS))
    }

    /// A number of several bytes, as postcard writes it.
    #[cold]
    fn long(&mut self, first: u8) -> Result<u64, Error> {
        let (mut word, mut last) = (u64::from(first & !MORE), first);
        for place in (7..u64::BITS).step_by(7) {
            if last < MORE {
                break;
            }
            last = self.take()?;
            word |= u64::from(last & !MORE) << place;
        }
        Ok(word)
    }

    #[inline]
    fn parts(&mut self) -> Result<(u64, PartsReader<'_, 'de>), Error> {
        self.stack.nest("reads")?;
        let (kind, len) = self.split()?;
        let left = usize::try_from(len).map_err(|_| Error::new("it is too long"))?;
        self.parts = self.parts.checked_sub(left).ok_or_else(Error::too_many)?;
        Ok((kind, PartsReader { from: self, left, over: false }))
    }

    /// Reads a number of parts that the reader does not know.
    #[inline]
    fn sequence<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Error> {
        let (kind, mut parts) = self.parts()?;
        if kind == kind::ENTRIES {
            return Err(Error::new("it writes a map and reads a sequence"));
        }
        let value = visitor.visit_seq(&mut parts)?;
        parts.end()?;
        if kind == kind::FIELDS {
            self.take::<u8>()?;
        }
        Ok(value)
    }

    /// Reads as many parts as the reader knows.
    #[inline]
    pub(super) fn tuple<V: Visitor<'de>>(&mut self, of: TypeName, len: usize, visitor: V) -> Result<V::Value, Error> {
        let (kind, mut parts) = self.parts()?;
        if kind == kind::ENTRIES || parts.left != len {
            return Err(Error::differs(of, parts.left, len));
        }
        let value = visitor.visit_seq(&mut parts)?;
        parts.end()?;
        if kind == kind::FIELDS {
            self.take::<u8>()?;
        }
        Ok(value)
    }

    /// Reads fields.
    #[inline(always)]
    pub(super) fn fields<V: Visitor<'de>>(
        &mut self,
        of: TypeName,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let (kind, written) = self.split()?;
        if kind != kind::FIELDS || written != fields.len() as u64 {
            return self.other_fields(of, kind, written, fields, visitor);
        }
        let mut parts = PartsReader { from: self, left: fields.len(), over: false };
        let value = visitor.visit_seq(&mut parts)?;
        let left = parts.left;
        if left > 0 {
            return Err(Error::differs(of, fields.len(), fields.len() - left));
        }
        if self.take::<u8>()? != NameHash::of(fields).byte() {
            return Err(Error::other_names(of));
        }
        Ok(value)
    }

    /// Reads fields that are not as many as there are names for them. Some of those may be aliases of others, so what
    /// the visitor asks for is counted.
    #[cold]
    #[inline(never)]
    fn other_fields<V: Visitor<'de>>(
        &mut self,
        of: TypeName,
        kind: u64,
        written: u64,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let written = usize::try_from(written).unwrap_or(usize::MAX);
        let differs = |read| Error::differs(of, written, read);
        if kind == kind::ENTRIES || written > fields.len() {
            return Err(differs(fields.len()));
        }
        let mut parts = PartsReader { from: self, left: written, over: false };
        let value = visitor.visit_seq(&mut parts);
        let PartsReader { left, over, .. } = parts;
        if over && written < fields.len() {
            return Err(differs(fields.len()));
        }
        let value = value.map_err(|why| why.perhaps(differs(fields.len())))?;
        if left > 0 {
            return Err(differs(written - left));
        }
        if kind == kind::FIELDS {
            self.take::<u8>()?;
        }
        Ok(value)
    }
}

pub(super) struct ValueReader<'a, 'de>(pub(super) &'a mut Input<'de>);

/// Values that have no parts: postcard reads them, and the visitor gets them from here, so that its reasons are kept.
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
                self.0.stack.nest("reads")?;
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
        self.0.stack.nest("reads")?;
        visitor.visit_enum(EnumReader { from: self.0, name, variants })
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::blind())
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::blind())
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::blind())
    }
}

/// PartsReader of a value that are still to be read.
struct PartsReader<'a, 'de> {
    from: &'a mut Input<'de>,
    left: usize,
    /// More were asked for.
    over: bool,
}

impl PartsReader<'_, '_> {
    #[inline]
    fn next(&mut self) -> bool {
        let is_one = self.left > 0;
        self.left -= usize::from(is_one);
        self.over |= !is_one;
        is_one
    }

    #[inline]
    fn hint(&self) -> Option<usize> {
        Some(self.left).filter(|left| *left <= self.from.max_hint)
    }

    #[inline]
    fn end(&self) -> Result<(), Error> {
        if self.left == 0 { Ok(()) } else { Err(Error::new("it reads fewer parts than it writes")) }
    }
}

impl<'de> SeqAccess<'de> for PartsReader<'_, 'de> {
    type Error = Error;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        if self.next() { seed.deserialize(ValueReader(self.from)).map(Some) } else { Ok(None) }
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.hint()
    }
}

impl<'de> MapAccess<'de> for PartsReader<'_, 'de> {
    type Error = Error;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        if self.next() { seed.deserialize(ValueReader(self.from)).map(Some) } else { Ok(None) }
    }

    #[inline]
    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(ValueReader(self.from))
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.hint()
    }
}
