//! Readers of the parts of a sequence, a map or a struct.

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess};

use super::input::Input;
use super::read::ValueReader;
use super::{Error, tag};

/// The parts of a value that are not read yet.
pub(super) struct PartsReader<'a, 'de> {
    pub(super) from: &'a mut Input<'de>,
    pub(super) left: usize,
    /// Whether each part has a name before it.
    pub(super) named: bool,
    /// The names that the type reads, if it is a struct.
    pub(super) fields: &'static [&'static str],
}

impl<'de> PartsReader<'_, 'de> {
    #[inline]
    fn next(&mut self) -> bool {
        let has_next = self.left > 0;
        self.left -= usize::from(has_next);
        has_next
    }

    #[inline]
    pub(super) fn end(&self) -> Result<(), Error> {
        if self.left == 0 { Ok(()) } else { Err(Error::new("it reads fewer parts than it writes")) }
    }

    /// Reads a field's name: the type's own, if it has an equal one.
    fn name(&mut self) -> Result<&'de str, Error> {
        let name = self.from.name()?;
        Ok(self.fields.iter().find(|field| self.from.is_name(name, field)).map_or(name.text, |field| field))
    }
}

impl<'de> SeqAccess<'de> for PartsReader<'_, 'de> {
    type Error = Error;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        if !self.next() {
            return Ok(None);
        }
        if self.named {
            self.name()?;
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
            let name = self.name()?;
            match self.from.bytes.strip_prefix(&[tag::SKIPPED]) {
                Some(rest) => self.from.bytes = rest,
                None => return seed.deserialize(BorrowedStrDeserializer::new(name)).map(Some),
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

/// The fields of a struct that are read in the order in which they were written.
pub(super) struct FieldsInOrder<'a, 'de> {
    pub(super) from: &'a mut Input<'de>,
    pub(super) left: usize,
    /// Whether the visitor asked for more fields than were written.
    pub(super) over: bool,
    /// Whether each field has a name before it.
    pub(super) named: bool,
    /// The names that the type reads from here on.
    pub(super) fields: &'static [&'static str],
    /// Whether a field was written under another name, or in another order.
    pub(super) differs: bool,
}

impl<'de> SeqAccess<'de> for FieldsInOrder<'_, 'de> {
    type Error = Error;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(left) = self.left.checked_sub(1) else {
            self.over = true;
            return Ok(None);
        };
        self.left = left;
        if self.named {
            let name = self.from.name()?;
            loop {
                let Some((field, rest)) = self.fields.split_first() else {
                    self.differs = true;
                    break;
                };
                self.fields = rest;
                if self.from.is_name(name, field) {
                    break;
                }
            }
        }
        seed.deserialize(ValueReader::new(self.from)).map(Some)
    }
}
