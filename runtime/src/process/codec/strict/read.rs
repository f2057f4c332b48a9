//! Reading: postcard's deserializer, and what stands before parts compared with what is asked for.

#![allow(clippy::inline_always, reason = "where a struct is known, so are its names: they need not be looked at")]

use postcard::de_flavors::Slice;
use serde::de::{DeserializeOwned, DeserializeSeed, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};
use serde::{Deserialize, Deserializer, forward_to_deserialize_any};

use super::{BITS, Error, MORE, NameHash, StackLimit, TypeName, kind, shape};

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

struct Input<'de> {
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
    fn take<T: Deserialize<'de>>(&mut self) -> Result<T, Error> {
        Ok(T::deserialize(&mut self.bytes)?)
    }

    /// A kind or a shape, and the number above it.
    #[inline]
    fn split(&mut self) -> Result<(u64, u64), Error> {
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
    fn tuple<V: Visitor<'de>>(&mut self, of: TypeName, len: usize, visitor: V) -> Result<V::Value, Error> {
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
    fn fields<V: Visitor<'de>>(
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

struct ValueReader<'a, 'de>(&'a mut Input<'de>);

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

/// An enum before its variant is known.
struct EnumReader<'a, 'de> {
    from: &'a mut Input<'de>,
    name: &'static str,
    /// The variants that can be read, some of them with aliases behind them.
    variants: &'static [&'static str],
}

impl EnumReader<'_, '_> {
    /// The variant whose place is another one when it is written.
    #[cold]
    fn by_name(&self, mark: [u8; 2]) -> Result<&'static str, Error> {
        if self.variants.is_empty() {
            return Ok("");
        }
        let mut those = self.variants.iter().filter(|name| NameHash::NONE.and(name).bytes() == mark);
        match (those.next(), those.next()) {
            (Some(name), None) => Ok(name),
            _ => Err(Error::new(format_args!(
                "`{}` writes other variants than it reads (`serde(skip)` or `serde(rename)` on some of them, for one of \
                 the two): remove the attribute, or send another type",
                self.name
            ))),
        }
    }
}

impl<'a, 'de> EnumAccess<'de> for EnumReader<'a, 'de> {
    type Error = Error;
    type Variant = VariantReader<'a, 'de>;

    #[inline]
    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, VariantReader<'a, 'de>), Error> {
        let (shape, index) = self.from.split()?;
        let index = u32::try_from(index).map_err(|_| Error::new("it is of an unknown variant"))?;
        let mark = [self.from.take()?, self.from.take()?];
        let variant = match self.variants.get(index as usize) {
            Some(name) if NameHash::NONE.and(name).bytes() == mark => name,
            _ => self.by_name(mark)?,
        };
        let value = seed.deserialize(VariantName { index, name: variant })?;
        Ok((value, VariantReader { from: self.from, of: TypeName { name: self.name, variant }, shape }))
    }
}

/// Which variant it is: its name to those who take one, as every `derive` does. There a number would be another one
/// behind variants that are skipped.
struct VariantName {
    index: u32,
    name: &'static str,
}

impl<'de> Deserializer<'de> for VariantName {
    type Error = Error;

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.name.is_empty() { visitor.visit_u32(self.index) } else { visitor.visit_borrowed_str(self.name) }
    }

    #[inline]
    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_u32(self.index)
    }

    #[inline]
    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_u32(self.index)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// What a variant holds.
struct VariantReader<'a, 'de> {
    from: &'a mut Input<'de>,
    of: TypeName,
    shape: u64,
}

impl<'a, 'de> VariantReader<'a, 'de> {
    #[inline]
    fn of_shape(self, shape: u64) -> Result<(&'a mut Input<'de>, TypeName), Error> {
        if self.shape == shape { Ok((self.from, self.of)) } else { Err(self.misshapen(shape)) }
    }

    #[cold]
    fn misshapen(&self, asked: u64) -> Error {
        let holding = |shape| match shape {
            shape::UNIT => "nothing",
            shape::VALUE => "one value",
            _ => "several values",
        };
        Error::new(format_args!(
            "{} writes {} and reads {} (`serde(skip_serializing)` or `skip_deserializing`): remove the attribute, use \
             `serde(skip)`, or send another type",
            self.of,
            holding(self.shape),
            holding(asked)
        ))
    }
}

impl<'de> VariantAccess<'de> for VariantReader<'_, 'de> {
    type Error = Error;

    #[inline]
    fn unit_variant(self) -> Result<(), Error> {
        self.of_shape(shape::UNIT).map(drop)
    }

    #[inline]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        let (from, _) = self.of_shape(shape::VALUE)?;
        seed.deserialize(ValueReader(from))
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        let (from, of) = self.of_shape(shape::PARTS)?;
        from.tuple(of, len, visitor)
    }

    #[inline(always)]
    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        let (from, of) = self.of_shape(shape::PARTS)?;
        from.fields(of, fields, visitor)
    }
}
