//! The bitmaps of arrays: booleans, and which values are not null.

use polars_arrow::array::Array;
use polars_arrow::bitmap::Bitmap;

use super::buffers::{ColumnBuffers, ReceivedBuffers, missing};
use crate::process::codec::{CodecError, Decoder, Encoder};

pub(super) fn write_bitmap<'a>(
    bitmap: &'a Bitmap,
    buffers: &mut ColumnBuffers<'a>,
    out: &mut Encoder<'_>,
) -> Result<(), CodecError> {
    let (bytes, offset, len) = bitmap.as_slice();
    buffers.add(bytes);
    out.value(&(offset, len))
}

/// Reads a bitmap. The parent always copies it, because Polars counts its bits once and relies on the count.
pub(super) fn read_bitmap(
    received: &mut ReceivedBuffers,
    input: &mut Decoder<'_>,
    expected: usize,
) -> Result<Bitmap, CodecError> {
    let (offset, len): (usize, usize) = input.value()?;
    let storage = received.own::<u8>(None)?;
    let bits = offset.checked_add(len).filter(|bits| bits.div_ceil(8) <= storage.len());
    if len != expected || offset > 7 || bits.is_none() {
        return Err(missing());
    }
    // SAFETY: the storage holds at least `offset + len` bits, which the check above made sure of.
    Ok(unsafe { Bitmap::from_inner_unchecked(storage, offset, len, None) })
}

pub(super) fn write_validity<'a>(
    validity: Option<&'a Bitmap>,
    buffers: &mut ColumnBuffers<'a>,
    out: &mut Encoder<'_>,
) -> Result<(), CodecError> {
    out.value(&validity.is_some())?;
    validity.map_or(Ok(()), |bitmap| write_bitmap(bitmap, buffers, out))
}

pub(super) fn read_validity(
    received: &mut ReceivedBuffers,
    input: &mut Decoder<'_>,
    len: usize,
) -> Result<Option<Bitmap>, CodecError> {
    let some: bool = input.value()?;
    some.then(|| read_bitmap(received, input, len)).transpose()
}

/// Downcasts an array to the type that its Arrow type names.
pub(super) fn downcast<T: 'static>(array: &dyn Array) -> Result<&T, CodecError> {
    array.as_any().downcast_ref().ok_or_else(|| CodecError::new(format!("{:?} is no array of its type", array.dtype())))
}
