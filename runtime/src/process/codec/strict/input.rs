//! [`Input`]: a message that is being read, with the limits that keep a hostile message from using more memory, time or
//! stack than its bytes justify.

#![allow(clippy::inline_always, reason = "inlined, the hash of a known struct's field names is a constant")]

use postcard::de_flavors::Slice;
use serde::Deserialize;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};

use super::{BITS, Error, MORE, NameHash, StackLimit, TypeName, kind};

pub(super) struct Input<'de> {
    bytes: postcard::Deserializer<'de, Slice<'de>>,
    /// The largest number of parts that a size hint may announce: a message has at most one part per byte.
    max_hint: usize,
    /// The parts that the message may still hold. Each part has at least one byte of its own, except up to
    /// [`MAX_EMPTY_PARTS`] empty ones.
    parts: usize,
    pub(super) stack: StackLimit,
}

/// The parts without bytes, as `()`, that one value may hold. Without this limit, a few bytes could make the
/// reader build an endless value.
const MAX_EMPTY_PARTS: usize = 1 << 20;

impl<'de> Input<'de> {
    pub(super) fn new(bytes: &'de [u8]) -> Self {
        let max_hint = bytes.len();
        Self {
            bytes: postcard::Deserializer::from_bytes(bytes),
            max_hint,
            parts: max_hint.saturating_add(MAX_EMPTY_PARTS),
            stack: StackLimit::UNKNOWN,
        }
    }

    /// The bytes that are not read.
    pub(super) fn into_rest(self) -> Result<&'de [u8], Error> {
        Ok(self.bytes.finalize()?)
    }

    #[inline]
    pub(super) fn take<T: Deserialize<'de>>(&mut self) -> Result<T, Error> {
        Ok(T::deserialize(&mut self.bytes)?)
    }

    /// Reads a kind or a shape, and the number in the bits above it.
    #[inline]
    pub(super) fn split(&mut self) -> Result<(u64, u64), Error> {
        let first: u8 = self.take()?;
        let word = if first < MORE { first.into() } else { self.long(first)? };
        Ok((word & ((1 << BITS) - 1), word >> BITS))
    }

    /// Reads the rest of a postcard number of several bytes.
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
    pub(super) fn parts(&mut self) -> Result<(u64, PartsReader<'_, 'de>), Error> {
        self.stack.enter_nested("reads")?;
        let (kind, len) = self.split()?;
        let left = usize::try_from(len).map_err(|_| Error::new("it is too long"))?;
        self.parts = self.parts.checked_sub(left).ok_or_else(Error::too_many)?;
        Ok((kind, PartsReader { from: self, left, over: false }))
    }

    /// Reads a sequence, whose length the type does not fix.
    #[inline]
    pub(super) fn sequence<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Error> {
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

    /// Reads a tuple, whose length the type fixes.
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

    /// Reads the fields of a struct.
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
            return Err(Error::differing_names(of));
        }
        Ok(value)
    }

    /// Reads a struct when fewer fields were written than the type has names. Some names may be aliases, so this counts
    /// the fields that the visitor asks for.
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
        let value = value.map_err(|why| why.or_perhaps(differs(fields.len())))?;
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

/// The parts of a value that are not read yet.
pub(super) struct PartsReader<'a, 'de> {
    from: &'a mut Input<'de>,
    left: usize,
    /// Whether the visitor asked for more parts than were written.
    over: bool,
}

impl PartsReader<'_, '_> {
    #[inline]
    fn next(&mut self) -> bool {
        let has_next = self.left > 0;
        self.left -= usize::from(has_next);
        self.over |= !has_next;
        has_next
    }

    #[inline]
    fn hint(&self) -> Option<usize> {
        Some(self.left).filter(|left| *left <= self.from.max_hint)
    }

    #[inline]
    pub(super) fn end(&self) -> Result<(), Error> {
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
