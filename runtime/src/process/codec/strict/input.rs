//! [`Input`]: a message that is being read, with the limits that keep a hostile message from using more memory, time or
//! stack than its bytes justify.

use serde::de::Visitor;

use super::names::ReadNames;
use super::parts::{FieldsInOrder, PartsReader};
use super::read::ValueReader;
use super::{Error, StackLimit, TypeName, tag};

pub(super) struct Input<'de> {
    pub(super) bytes: &'de [u8],
    pub(super) names: ReadNames<'de>,
    /// Whether the field that was read last is the tag of an enum with `serde(tag, content)`.
    pub(super) is_enum_tag: bool,
    stack: StackLimit,
    /// The stack that must stay free, in bytes: what serde's code uses that reads values a second time.
    reserved: usize,
    /// The types whose structs are read by their fields' names: the lists of the names.
    by_name: &'de [&'static [&'static str]],
}

/// The stack that one level of a value uses when serde reads it from a copy, as for `serde(untagged)`, in bytes.
const STACK_PER_LEVEL: usize = 2 << 10;

impl<'de> Input<'de> {
    pub(super) fn new(bytes: &'de [u8], by_name: &'de [&'static [&'static str]]) -> Self {
        Self {
            bytes,
            names: ReadNames::default(),
            is_enum_tag: false,
            stack: StackLimit::UNKNOWN,
            reserved: 0,
            by_name,
        }
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (array, rest) = self.bytes.split_first_chunk().ok_or_else(Error::too_short)?;
        self.bytes = rest;
        Ok(*array)
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, Error> {
        let (byte, rest) = self.bytes.split_first().ok_or_else(Error::too_short)?;
        self.bytes = rest;
        Ok(*byte)
    }

    /// The next byte, without taking it.
    #[inline]
    pub(super) fn peek(&self) -> Result<u8, Error> {
        self.bytes.first().copied().ok_or_else(Error::too_short)
    }

    /// Reads an integer of 1, 2, 4 or 8 bytes.
    #[inline]
    pub(super) fn integer(&mut self, size: u8) -> Result<u64, Error> {
        Ok(match size {
            0 => self.byte()?.into(),
            1 => u16::from_le_bytes(self.array()?).into(),
            2 => u32::from_le_bytes(self.array()?).into(),
            _ => u64::from_le_bytes(self.array()?),
        })
    }

    /// Reads an integer of 1, 2, 4, 8 or 16 bytes.
    #[inline]
    pub(super) fn wide_integer(&mut self, size: u8) -> Result<u128, Error> {
        if size < 4 { Ok(self.integer(size)?.into()) } else { Ok(u128::from_le_bytes(self.array()?)) }
    }

    /// Reads a length or a count.
    #[inline]
    pub(super) fn length(&mut self) -> Result<usize, Error> {
        let first = self.byte()?;
        if first < 0x80 { Ok(first.into()) } else { self.long(first) }
    }

    #[cold]
    fn long(&mut self, first: u8) -> Result<usize, Error> {
        let (mut length, mut last) = (usize::from(first & 0x7f), first);
        for place in (7..usize::BITS).step_by(7) {
            if last < 0x80 {
                break;
            }
            last = self.byte()?;
            length |= usize::from(last & 0x7f) << place;
        }
        Ok(length)
    }

    #[inline]
    pub(super) fn block(&mut self) -> Result<&'de [u8], Error> {
        let length = self.length()?;
        let (block, rest) = self.bytes.split_at_checked(length).ok_or_else(Error::too_short)?;
        self.bytes = rest;
        Ok(block)
    }

    #[inline]
    pub(super) fn text(&mut self) -> Result<&'de str, Error> {
        std::str::from_utf8(self.block()?).map_err(Error::new)
    }

    /// Checks that the stack has room for one more nested value.
    #[inline]
    pub(super) fn enter_nested(&mut self) -> Result<(), Error> {
        self.stack.enter_nested("reads", self.reserved)
    }

    /// Reads a nested value that serde may copy.
    #[inline]
    pub(super) fn copied<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        self.reserved += STACK_PER_LEVEL;
        self.enter_nested()?;
        let value = read(self);
        self.reserved -= STACK_PER_LEVEL;
        value
    }

    /// Begins parts. Every part has a byte at least, so no count can exceed what is left of the message.
    #[inline]
    pub(super) fn parts(&mut self, named: bool) -> Result<PartsReader<'_, 'de>, Error> {
        self.enter_nested()?;
        let left = self.length()?;
        if left > self.bytes.len() {
            return Err(Error::too_short());
        }
        Ok(PartsReader { from: self, left, named, fields: &[] })
    }

    #[inline]
    pub(super) fn sequence<V: Visitor<'de>>(&mut self, named: bool, visitor: V) -> Result<V::Value, Error> {
        let mut parts = self.parts(named)?;
        let value = visitor.visit_seq(&mut parts)?;
        parts.end()?;
        Ok(value)
    }

    #[inline]
    pub(super) fn map<V: Visitor<'de>>(&mut self, named: bool, visitor: V) -> Result<V::Value, Error> {
        let mut parts = self.parts(named)?;
        let value = visitor.visit_map(&mut parts)?;
        parts.end()?;
        Ok(value)
    }

    /// Reads a tuple, whose length the type fixes.
    #[inline]
    pub(super) fn tuple<V: Visitor<'de>>(&mut self, of: TypeName, len: usize, visitor: V) -> Result<V::Value, Error> {
        let tag = self.peek()?;
        if !matches!(tag, tag::ITEMS | tag::FIELDS) {
            return ValueReader::new(self).any(visitor);
        }
        self.byte()?;
        let mut parts = self.parts(tag == tag::FIELDS)?;
        if parts.left != len {
            return Err(Error::differs(of, parts.left, len));
        }
        let value = visitor.visit_seq(&mut parts)?;
        parts.end()?;
        Ok(value)
    }

    /// Reads the fields of a struct. Where none were left out, in the order in which they were written: so a field that
    /// is never written and has a default is noticed, and fields may have other names when they are read.
    #[inline]
    pub(super) fn fields<V: Visitor<'de>>(
        &mut self,
        of: TypeName,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let tag = self.peek()?;
        let in_order = match tag {
            tag::ITEMS => true,
            tag::FIELDS => self.by_name.is_empty() || !self.by_name.iter().any(|list| std::ptr::eq(*list, fields)),
            tag::SOME_FIELDS | tag::ENTRIES => false,
            _ => return ValueReader::new(self).any(visitor),
        };
        self.byte()?;
        if !in_order {
            let mut parts = self.parts(tag == tag::FIELDS || tag == tag::SOME_FIELDS)?;
            let written = parts.left;
            parts.fields = fields;
            let value = visitor.visit_map(&mut parts).map_err(|error| error.unread_field(of, written, fields.len()))?;
            parts.end()?;
            return Ok(value);
        }
        let written = self.length()?;
        let mut parts =
            FieldsInOrder { from: self, left: written, over: false, named: tag == tag::FIELDS, fields, differs: false };
        let value = visitor.visit_seq(&mut parts);
        let FieldsInOrder { left, over, differs, .. } = parts;
        let is_enum_tag = std::mem::take(&mut self.is_enum_tag);
        match value {
            // Some of the type's names may be aliases, so what counts is how many fields the visitor asked for.
            Ok(value) if left == 0 && !over && !differs => Ok(value),
            Ok(_) if over => Err(Error::differs(of, written, fields.len())),
            Ok(_) if left > 0 => Err(Error::differs(of, written, written - left)),
            Ok(_) => Err(Error::differing_names(of)),
            // The type reads no sequence; or it is an enum with `serde(tag, content)`, and the variant has no content.
            Err(error) if tag == tag::FIELDS && (left == written || (over && written == 1 && is_enum_tag)) => {
                Err(error.for_want_of_names(fields))
            }
            Err(_) if over => Err(Error::differs(of, written, fields.len())),
            Err(error) => Err(error),
        }
    }
}
