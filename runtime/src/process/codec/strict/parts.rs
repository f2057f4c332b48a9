//! Reading the parts of a sequence, a map or a struct.

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};

use super::input::{Fields, Input};
use super::read::ValueReader;
use super::{Error, TypeName, tag};

/// The parts of a value that are not read yet.
pub(super) struct PartsReader<'a, 'de> {
    from: &'a mut Input<'de>,
    left: usize,
    /// Whether each part has a name before it.
    named: bool,
    /// The names that the type reads if it is a struct: all of them by name, and those from here on in order.
    fields: Fields,
    /// Whether the visitor asked for more parts than were written.
    over: bool,
    /// Whether a part was written under another name than the type reads, or in another order.
    differs: bool,
}

impl<'a, 'de> PartsReader<'a, 'de> {
    #[inline]
    pub(super) fn new(from: &'a mut Input<'de>, left: usize, named: bool) -> Self {
        Self { from, left, named, fields: &[], over: false, differs: false }
    }

    /// Reads all parts as a sequence.
    #[inline]
    pub(super) fn sequence<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        let value = visitor.visit_seq(&mut self)?;
        self.end()?;
        Ok(value)
    }

    /// Reads all parts as a map.
    #[inline]
    pub(super) fn map<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        let value = visitor.visit_map(&mut self)?;
        self.end()?;
        Ok(value)
    }

    /// Checks that all parts were read.
    #[inline]
    pub(super) fn end(&self) -> Result<(), Error> {
        if self.left == 0 { Ok(()) } else { Err(Error::new("it reads fewer parts than it writes")) }
    }

    /// Reads a field's name, which the type reads next or behind others.
    #[inline]
    fn next_field(&mut self) -> Result<(), Error> {
        let name = self.from.name()?;
        match self.fields.iter().position(|field| self.from.is_name(name, field)) {
            Some(place) => self.fields = &self.fields[place + 1..],
            None => self.differs = true,
        }
        Ok(())
    }

    #[inline]
    fn next(&mut self) -> bool {
        let has_next = self.left > 0;
        self.left -= usize::from(has_next);
        has_next
    }
}

impl<'de> SeqAccess<'de> for PartsReader<'_, 'de> {
    type Error = Error;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        if !self.next() {
            self.over = true;
            return Ok(None);
        }
        if self.named {
            self.next_field()?;
        }
        seed.deserialize(ValueReader::new(self.from)).map(Some)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> MapAccess<'de> for PartsReader<'_, 'de> {
    type Error = Error;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        while self.next() {
            if !self.named {
                return seed.deserialize(ValueReader::new(self.from)).map(Some);
            }
            let name = self.from.name()?;
            match self.from.bytes.strip_prefix(&[tag::SKIPPED]) {
                Some(rest) => self.from.bytes = rest,
                None => {
                    // The type's own name, if it has an equal one.
                    let own = self.fields.iter().find(|field| self.from.is_name(name, field));
                    return seed.deserialize(BorrowedStrDeserializer::new(own.unwrap_or(&name.text))).map(Some);
                }
            }
        }
        Ok(None)
    }

    #[inline]
    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(ValueReader { of_struct: !self.fields.is_empty(), ..ValueReader::new(self.from) })
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> ValueReader<'_, 'de> {
    /// Reads a tuple, whose length the type fixes.
    #[inline]
    pub(super) fn tuple<V: Visitor<'de>>(mut self, of: TypeName, len: usize, visitor: V) -> Result<V::Value, Error> {
        let named = self.take(tag::FIELDS)?;
        if !named && !self.take(tag::ITEMS)? {
            return self.any(visitor);
        }
        let parts = self.from.parts(named)?;
        if parts.left == len { parts.sequence(visitor) } else { Err(Error::differs(of, parts.left, len)) }
    }

    /// Reads the fields of a struct. Where none were left out, in the order in which they were written: so a field that
    /// is never written and has a default is noticed, and fields may have other names when they are read.
    #[inline]
    pub(super) fn fields<V: Visitor<'de>>(
        self,
        of: TypeName<'de>,
        fields: Fields,
        visitor: V,
    ) -> Result<V::Value, Error> {
        let tag = self.from.peek()?;
        let in_order = match tag {
            tag::ITEMS => true,
            tag::FIELDS => !self.from.by_name.contains(&fields),
            tag::SOME_FIELDS | tag::ENTRIES => false,
            _ => return self.any(visitor),
        };
        self.from.byte()?;
        let mut parts = self.from.parts(matches!(tag, tag::FIELDS | tag::SOME_FIELDS))?;
        let written = parts.left;
        parts.fields = fields;
        if !in_order {
            let value = visitor.visit_map(&mut parts);
            if std::mem::take(&mut parts.from.has_unread_field) {
                return Err(Error::differs(of, written, fields.len()));
            }
            return value.and_then(|value| parts.end().map(|()| value));
        }
        let value = visitor.visit_seq(&mut parts);
        let is_enum_tag = std::mem::take(&mut parts.from.is_enum_tag);
        match value {
            // Some of the type's names may be aliases, so what counts is how many fields the visitor asked for.
            Ok(value) if parts.left == 0 && !parts.over && !parts.differs => Ok(value),
            Ok(_) if parts.over => Err(Error::differs(of, written, fields.len())),
            Ok(_) if parts.left > 0 => Err(Error::differs(of, written, written - parts.left)),
            Ok(_) => Err(Error::differing_names(of)),
            // The type reads no sequence; or it is an enum with `serde(tag, content)`, and the variant has no content.
            Err(error) if parts.left == written || (parts.over && written == 1 && is_enum_tag) => {
                parts.from.wants_names = parts.named.then_some(fields);
                Err(error)
            }
            Err(_) if parts.over => Err(Error::differs(of, written, fields.len())),
            Err(error) => Err(error),
        }
    }
}
