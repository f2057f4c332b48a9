//! [`Input`]: a message that is being read, with the limits that keep a hostile message from using more memory, time or
//! stack than its bytes justify.

use super::names::Name;
use super::parts::PartsReader;
use super::{Error, StackLimit};

/// The names of the fields that a type reads.
pub(super) type Fields = &'static [&'static str];

pub(super) struct Input<'de> {
    pub(super) bytes: &'de [u8],
    /// The names that were read.
    pub(super) names: Vec<Name<'de>>,
    /// Whether the field that was read last is the tag of an enum with `serde(tag, content)`.
    pub(super) is_enum_tag: bool,
    /// Whether the error of a struct that is read by name is that its type ignores a field.
    pub(super) has_unread_field: bool,
    /// The types whose structs are read by their fields' names.
    pub(super) by_name: &'de [Fields],
    /// A further such type, found by an error: it may read structs with these fields only by their names.
    pub(super) wants_names: Option<Fields>,
    stack: StackLimit,
    /// The stack that must stay free, in bytes: what serde's code uses that reads values a second time.
    pub(super) reserved: usize,
}

impl<'de> Input<'de> {
    #[inline]
    pub(super) fn new(bytes: &'de [u8], by_name: &'de [Fields]) -> Self {
        Self {
            bytes,
            names: Vec::new(),
            is_enum_tag: false,
            has_unread_field: false,
            by_name,
            wants_names: None,
            stack: StackLimit::UNKNOWN,
            reserved: 0,
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
        self.array().map(|[byte]| byte)
    }

    /// The next byte, without taking it.
    #[inline]
    pub(super) fn peek(&self) -> Result<u8, Error> {
        self.bytes.first().copied().ok_or_else(Error::too_short)
    }

    /// Reads an integer of 1, 2, 4, 8 or 16 bytes.
    #[inline]
    pub(super) fn integer(&mut self, size: u8) -> Result<u128, Error> {
        Ok(match size {
            0 => self.byte()?.into(),
            1 => u16::from_le_bytes(self.array()?).into(),
            2 => u32::from_le_bytes(self.array()?).into(),
            3 => u64::from_le_bytes(self.array()?).into(),
            _ => u128::from_le_bytes(self.array()?),
        })
    }

    /// Reads a length or a count.
    #[inline]
    fn length(&mut self) -> Result<usize, Error> {
        self.array().map(usize::from_le_bytes)
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

    /// Begins parts. Every part has a byte at least, so no count can exceed what is left of the message.
    #[inline]
    pub(super) fn parts(&mut self, named: bool) -> Result<PartsReader<'_, 'de>, Error> {
        self.enter_nested()?;
        let count = self.length()?;
        if count > self.bytes.len() { Err(Error::too_short()) } else { Ok(PartsReader::new(self, count, named)) }
    }
}
