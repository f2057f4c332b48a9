//! Reading enums: finds the variant by its name, and compares its shape with the type's.

use serde::de::{DeserializeSeed, EnumAccess, VariantAccess, Visitor};
use serde::{Deserializer, forward_to_deserialize_any};

use super::input::{Fields, Input};
use super::names::NameRead;
use super::read::ValueReader;
use super::{Error, TypeName, tag};

/// An enum whose variant is not read yet.
pub(super) struct EnumReader<'a, 'de> {
    pub(super) from: &'a mut Input<'de>,
    pub(super) name: &'static str,
    /// The variants that the type reads, each followed by its aliases.
    pub(super) variants: Fields,
}

impl<'de> EnumReader<'_, 'de> {
    /// Finds the variant by its name, if its index is another one when it is written than when it is read.
    #[cold]
    fn find(&mut self, name: NameRead<'de>) -> Result<&'de str, Error> {
        if self.variants.is_empty() {
            return Ok(name.text);
        }
        self.variants.iter().find(|variant| self.from.is_name(name, variant)).copied().ok_or_else(|| {
            Error::new(format_args!(
                "`{}` writes other variants than it reads (`serde(skip)` or `serde(rename)` on some of them, for one \
                 of the two): remove the attribute, or send another type",
                self.name
            ))
        })
    }
}

impl<'a, 'de> EnumAccess<'de> for EnumReader<'a, 'de> {
    type Error = Error;
    type Variant = VariantReader<'a, 'de>;

    #[inline]
    fn variant_seed<T: DeserializeSeed<'de>>(mut self, seed: T) -> Result<(T::Value, VariantReader<'a, 'de>), Error> {
        let tag = self.from.byte()?;
        let index = u32::from_le_bytes(self.from.array()?);
        let name = self.from.name()?;
        let variant = match self.variants.get(index as usize) {
            Some(variant) if self.from.is_name(name, variant) => variant,
            _ => self.find(name)?,
        };
        let value = seed.deserialize(VariantName { index, name: variant })?;
        Ok((value, VariantReader { from: self.from, of: TypeName(self.name, variant), tag }))
    }
}

/// Tells the type which variant to read. A derived type asks for an identifier and gets the name: behind skipped
/// variants, the index differs between writing and reading.
struct VariantName<'de> {
    index: u32,
    name: &'de str,
}

impl<'de> Deserializer<'de> for VariantName<'de> {
    type Error = Error;

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_str(self.name)
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
    of: TypeName<'de>,
    tag: u8,
}

impl<'a, 'de> VariantReader<'a, 'de> {
    #[inline]
    fn with_tag(self, tag: u8) -> Result<ValueReader<'a, 'de>, Error> {
        if self.tag == tag { Ok(ValueReader::new(self.from)) } else { Err(wrong_shape(self.of, self.tag, tag)) }
    }
}

#[cold]
fn wrong_shape(of: TypeName, written: u8, asked: u8) -> Error {
    let holding = |tag| match tag {
        tag::UNIT_VARIANT => "nothing",
        tag::VALUE_VARIANT => "one value",
        _ => "several values",
    };
    Error::new(format_args!(
        "{of} writes {} and reads {} (`serde(skip_serializing)` or `skip_deserializing`): remove the attribute, use \
         `serde(skip)`, or send another type",
        holding(written),
        holding(asked)
    ))
}

impl<'de> VariantAccess<'de> for VariantReader<'_, 'de> {
    type Error = Error;

    #[inline]
    fn unit_variant(self) -> Result<(), Error> {
        self.with_tag(tag::UNIT_VARIANT).map(drop)
    }

    #[inline]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self.with_tag(tag::VALUE_VARIANT)?)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        let of = self.of;
        self.with_tag(tag::PARTS_VARIANT)?.tuple(of, len, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(self, fields: Fields, visitor: V) -> Result<V::Value, Error> {
        let of = self.of;
        self.with_tag(tag::PARTS_VARIANT)?.fields(of, fields, visitor)
    }
}
