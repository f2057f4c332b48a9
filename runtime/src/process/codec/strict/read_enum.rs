//! Reading enums: finds the variant by its name, and compares its shape with the type's.

#![allow(clippy::inline_always, reason = "inlined, the hash of a known struct's field names is a constant")]

use serde::de::{DeserializeSeed, EnumAccess, VariantAccess, Visitor};
use serde::{Deserializer, forward_to_deserialize_any};

use super::input::{Input, ValueReader};
use super::{Error, NameHash, TypeName, shape};

/// An enum whose variant is not read yet.
pub(super) struct EnumReader<'a, 'de> {
    pub(super) from: &'a mut Input<'de>,
    pub(super) name: &'static str,
    /// The variants that the type reads, each followed by its aliases.
    pub(super) variants: &'static [&'static str],
}

impl EnumReader<'_, '_> {
    /// Finds the variant by the hash of its name, if its index is another one when it is written than when it is read.
    #[cold]
    fn find_by_hash(&self, hash: [u8; 2]) -> Result<&'static str, Error> {
        if self.variants.is_empty() {
            return Ok("");
        }
        let mut matching = self.variants.iter().filter(|name| NameHash::NONE.and(name).bytes() == hash);
        match (matching.next(), matching.next()) {
            (Some(name), None) => Ok(name),
            _ => Err(Error::new(format_args!(
                "`{}` writes other variants than it reads (`serde(skip)` or `serde(rename)` on some of them, for one \
                 of the two): remove the attribute, or send another type",
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
        let hash = [self.from.take()?, self.from.take()?];
        let variant = match self.variants.get(index as usize) {
            Some(name) if NameHash::NONE.and(name).bytes() == hash => name,
            _ => self.find_by_hash(hash)?,
        };
        let value = seed.deserialize(VariantName { index, name: variant })?;
        Ok((value, VariantReader { from: self.from, of: TypeName { name: self.name, variant }, shape }))
    }
}

/// Tells the type which variant to read. A derived type asks for an identifier and gets the name: behind skipped
/// variants, the index differs between writing and reading.
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

/// The content of a variant.
pub(super) struct VariantReader<'a, 'de> {
    from: &'a mut Input<'de>,
    of: TypeName,
    shape: u64,
}

impl<'a, 'de> VariantReader<'a, 'de> {
    #[inline]
    fn of_shape(self, shape: u64) -> Result<(&'a mut Input<'de>, TypeName), Error> {
        if self.shape == shape { Ok((self.from, self.of)) } else { Err(self.wrong_shape(shape)) }
    }

    #[cold]
    fn wrong_shape(&self, asked: u64) -> Error {
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
