//! The bitmaps of arrays: booleans, and which values are not null.

use polars_arrow::bitmap::Bitmap;

use super::buffers::{ColumnBuffers, ReceivedBuffers, missing};
use crate::process::codec::CodecError;

impl ColumnBuffers {
    pub(super) fn add_bitmap(&mut self, bitmap: &Bitmap) -> Result<(), CodecError> {
        let (bytes, offset, len) = bitmap.as_buffer();
        self.numbers.extend([offset, len]);
        self.add(&bytes)
    }

    pub(super) fn add_validity(&mut self, validity: Option<&Bitmap>) -> Result<(), CodecError> {
        self.numbers.push(usize::from(validity.is_some()));
        validity.map_or(Ok(()), |bitmap| self.add_bitmap(bitmap))
    }
}

impl ReceivedBuffers {
    /// Reads a bitmap. The parent always copies it, because Polars counts its bits once and relies on the count.
    pub(super) fn bitmap(&mut self, expected: usize) -> Result<Bitmap, CodecError> {
        let (offset, len) = (self.number()?, self.number()?);
        let storage = self.own::<u8>(None)?.into_storage();
        let bits = offset.checked_add(len).filter(|bits| bits.div_ceil(8) <= storage.len());
        if len != expected || offset > 7 || bits.is_none() {
            return Err(missing());
        }
        // SAFETY: the storage holds at least `offset + len` bits, which the check above made sure of.
        Ok(unsafe { Bitmap::from_inner_unchecked(storage, offset, len, None) })
    }

    pub(super) fn validity(&mut self, len: usize) -> Result<Option<Bitmap>, CodecError> {
        if self.number()? == 0 { Ok(None) } else { self.bitmap(len).map(Some) }
    }
}
