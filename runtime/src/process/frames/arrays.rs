//! Columns' data: described in the message, and their buffers side by side in one block, which the other side uses where
//! it lies.

use std::borrow::Cow;
use std::sync::Arc;

use polars_arrow::array::{
    Array, BinaryViewArrayGeneric, BooleanArray, DictionaryArray, DictionaryKey, FixedSizeListArray, ListArray,
    NullArray, PrimitiveArray, StructArray, View as StringView, ViewType,
};
use polars_arrow::bitmap::Bitmap;
use polars_arrow::datatypes::{ArrowDataType, IntegerType, PhysicalType, PrimitiveType};
use polars_arrow::offset::OffsetsBuffer;
use polars_arrow::types::NativeType;
use polars_buffer::{Buffer, SharedStorage};

use super::super::segments::View;
use super::super::wire::{Decoder, Encoder, Misfit};
use super::super::worker::is_worker_process;

/// Every buffer begins at a multiple of this, as Arrow wants it.
const ALIGNMENT: usize = 64;

/// Buffers that are to be sent.
#[derive(Default)]
pub(super) struct Parts<'a>(Vec<Cow<'a, [u8]>>);

impl<'a> Parts<'a> {
    fn add(&mut self, bytes: impl Into<Cow<'a, [u8]>>) {
        self.0.push(bytes.into());
    }

    fn add_slice<T: NativeType>(&mut self, values: &'a [T]) {
        self.add(bytes_of(values));
    }

    /// Writes all of them, and where each is.
    pub(super) fn write(&self, out: &mut Encoder<'_>) -> Result<(), Misfit> {
        let lens: Vec<usize> = self.0.iter().map(|part| part.len()).collect();
        out.value(&lens)?;
        let padding = [0; ALIGNMENT];
        let mut aligned = Vec::with_capacity(2 * self.0.len());
        for part in &self.0 {
            aligned.push(&**part);
            aligned.push(&padding[..part.len().next_multiple_of(ALIGNMENT) - part.len()]);
        }
        out.bytes(&aligned)
    }
}

fn bytes_of<T: NativeType>(values: &[T]) -> &[u8] {
    // SAFETY: native types are plain numbers without padding: all of their bytes may be looked at.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// Buffers that have come.
pub(super) struct Came {
    block: Arc<View>,
    /// Where each begins and how long it is, from the next one on.
    parts: std::vec::IntoIter<(usize, usize)>,
}

impl Came {
    pub(super) fn read(input: &mut Decoder<'_>) -> Result<Self, Misfit> {
        let lens: Vec<usize> = input.value()?;
        let block = input.bytes()?.into_view()?;
        let mut start = 0_usize;
        let mut parts = Vec::with_capacity(lens.len());
        for len in lens {
            parts.push((start, len));
            let end = len.checked_next_multiple_of(ALIGNMENT).and_then(|len| start.checked_add(len));
            start = end.filter(|end| *end <= block.bytes().len()).ok_or_else(missing)?;
        }
        Ok(Self { block: Arc::new(block), parts: parts.into_iter() })
    }

    /// The next buffer, of `len` values or as many as there are.
    fn next<T: NativeType>(&mut self, len: Option<usize>) -> Result<SharedStorage<T>, Misfit> {
        let (start, bytes) = self.parts.next().ok_or_else(missing)?;
        let found = bytes / size_of::<T>();
        let place = self.block.bytes()[start..start + bytes].as_ptr();
        if len.is_some_and(|len| len != found) || bytes % size_of::<T>() != 0 || !place.cast::<T>().is_aligned() {
            return Err(missing());
        }
        // SAFETY: aligned, within the block, and any bits are a native value.
        let values = unsafe { std::slice::from_raw_parts(place.cast::<T>(), found) };
        // SAFETY: the owner keeps the block mapped, and its maker leaves it alone, until the last buffer is dropped.
        Ok(unsafe { SharedStorage::from_slice_with_owner(values, Arc::clone(&self.block)) })
    }

    fn buffer<T: NativeType>(&mut self, len: Option<usize>) -> Result<Buffer<T>, Misfit> {
        self.next(len).map(Buffer::from_storage)
    }
}

fn missing() -> Misfit {
    Misfit::new("a column's data is not all there")
}

fn write_bitmap<'a>(bitmap: &'a Bitmap, parts: &mut Parts<'a>, out: &mut Encoder<'_>) -> Result<(), Misfit> {
    let (bytes, offset, len) = bitmap.as_slice();
    parts.add(bytes);
    out.value(&(offset, len))
}

fn read_bitmap(came: &mut Came, input: &mut Decoder<'_>, expected: usize) -> Result<Bitmap, Misfit> {
    let (offset, len): (usize, usize) = input.value()?;
    let storage = came.next::<u8>(None)?;
    let bits = offset.checked_add(len).filter(|bits| bits.div_ceil(8) <= storage.len());
    if len != expected || offset > 7 || bits.is_none() {
        return Err(missing());
    }
    // SAFETY: there are as many bits as it says.
    Ok(unsafe { Bitmap::from_inner_unchecked(storage, offset, len, None) })
}

fn write_validity<'a>(
    validity: Option<&'a Bitmap>,
    parts: &mut Parts<'a>,
    out: &mut Encoder<'_>,
) -> Result<(), Misfit> {
    out.value(&validity.is_some())?;
    validity.map_or(Ok(()), |bitmap| write_bitmap(bitmap, parts, out))
}

fn read_validity(came: &mut Came, input: &mut Decoder<'_>, len: usize) -> Result<Option<Bitmap>, Misfit> {
    let some: bool = input.value()?;
    some.then(|| read_bitmap(came, input, len)).transpose()
}

macro_rules! primitives {
    ($primitive:expr, $name:ident => $with:expr, $($variant:ident $type:ty),*) => {
        match $primitive {
            $(PrimitiveType::$variant => {
                type $name = $type;
                $with
            })*
            other => Err(Misfit::new(format!("a column of {other:?} cannot go to another process"))),
        }
    };
    ($primitive:expr, $name:ident => $with:expr) => {
        primitives!(
            $primitive, $name => $with, Int8 i8, Int16 i16, Int32 i32, Int64 i64, Int128 i128, UInt8 u8, UInt16 u16,
            UInt32 u32, UInt64 u64, UInt128 u128, Float32 f32, Float64 f64
        )
    };
}

macro_rules! keys {
    ($key:expr, $name:ident => $with:expr, $($variant:ident $type:ty),*) => {
        match $key {
            $(IntegerType::$variant => {
                type $name = $type;
                $with
            })*
            other => Err(Misfit::new(format!("a dictionary with {other:?} keys cannot go to another process"))),
        }
    };
    ($key:expr, $name:ident => $with:expr) => {
        keys!(
            $key, $name => $with, Int8 i8, Int16 i16, Int32 i32, Int64 i64, UInt8 u8, UInt16 u16, UInt32 u32,
            UInt64 u64
        )
    };
}

/// The array as what its type says that it is.
fn is<T: 'static>(array: &dyn Array) -> Result<&T, Misfit> {
    array.as_any().downcast_ref().ok_or_else(|| Misfit::new(format!("{:?} is no array of its type", array.dtype())))
}

/// Describes an array, and adds its buffers.
pub(super) fn write<'a>(array: &'a dyn Array, parts: &mut Parts<'a>, out: &mut Encoder<'_>) -> Result<(), Misfit> {
    out.value(&array.len())?;
    match array.dtype().to_physical_type() {
        PhysicalType::Null => Ok(()),
        PhysicalType::Boolean => {
            let array: &BooleanArray = is(array)?;
            write_validity(array.validity(), parts, out)?;
            write_bitmap(array.values(), parts, out)
        }
        PhysicalType::Primitive(primitive) => primitives!(primitive, T => write_primitive::<T>(array, parts, out)),
        PhysicalType::Utf8View => write_views::<str>(array, parts, out),
        PhysicalType::BinaryView => write_views::<[u8]>(array, parts, out),
        PhysicalType::LargeList => write_list(array, parts, out),
        PhysicalType::FixedSizeList => {
            let array: &FixedSizeListArray = is(array)?;
            write_validity(array.validity(), parts, out)?;
            write(&**array.values(), parts, out)
        }
        PhysicalType::Struct => {
            let array: &StructArray = is(array)?;
            write_validity(array.validity(), parts, out)?;
            array.values().iter().try_for_each(|field| write(&**field, parts, out))
        }
        PhysicalType::Dictionary(key) => keys!(key, K => {
            let array: &DictionaryArray<K> = is(array)?;
            write(array.keys(), parts, out)?;
            write(&**array.values(), parts, out)
        }),
        other => Err(Misfit::new(format!("a column of {other:?} cannot go to another process"))),
    }
}

fn write_primitive<'a, T: NativeType>(
    array: &'a dyn Array,
    parts: &mut Parts<'a>,
    out: &mut Encoder<'_>,
) -> Result<(), Misfit> {
    let array: &PrimitiveArray<T> = is(array)?;
    write_validity(array.validity(), parts, out)?;
    parts.add_slice(array.values().as_slice());
    Ok(())
}

fn write_views<'a, T: ViewType + ?Sized>(
    array: &'a dyn Array,
    parts: &mut Parts<'a>,
    out: &mut Encoder<'_>,
) -> Result<(), Misfit> {
    let array: &BinaryViewArrayGeneric<T> = is(array)?;
    write_validity(array.validity(), parts, out)?;
    parts.add_slice(array.views().as_slice());
    out.value(&array.data_buffers().len())?;
    for buffer in array.data_buffers().iter() {
        parts.add(buffer.as_slice());
    }
    Ok(())
}

fn write_list<'a>(array: &'a dyn Array, parts: &mut Parts<'a>, out: &mut Encoder<'_>) -> Result<(), Misfit> {
    let array: &ListArray<i64> = is(array)?;
    write_validity(array.validity(), parts, out)?;
    parts.add_slice(array.offsets().as_slice());
    write(&**array.values(), parts, out)
}

/// An array of the type, as it was described.
pub(super) fn read(dtype: &ArrowDataType, came: &mut Came, input: &mut Decoder<'_>) -> Result<Box<dyn Array>, Misfit> {
    let len: usize = input.value()?;
    let own = || dtype.clone();
    match dtype.to_physical_type() {
        PhysicalType::Null => Ok(Box::new(NullArray::try_new(own(), len).map_err(Misfit::new)?)),
        PhysicalType::Boolean => {
            let validity = read_validity(came, input, len)?;
            let values = read_bitmap(came, input, len)?;
            Ok(Box::new(BooleanArray::try_new(own(), values, validity).map_err(Misfit::new)?))
        }
        PhysicalType::Primitive(primitive) => primitives!(primitive, T => {
            let validity = read_validity(came, input, len)?;
            let values = came.buffer::<T>(Some(len))?;
            Ok(Box::new(PrimitiveArray::<T>::try_new(own(), values, validity).map_err(Misfit::new)?) as Box<dyn Array>)
        }),
        PhysicalType::Utf8View => read_views::<str>(own(), len, came, input),
        PhysicalType::BinaryView => read_views::<[u8]>(own(), len, came, input),
        PhysicalType::LargeList => {
            let validity = read_validity(came, input, len)?;
            let offsets = came.buffer::<i64>(Some(len.checked_add(1).ok_or_else(missing)?))?;
            let offsets = OffsetsBuffer::try_from(offsets).map_err(Misfit::new)?;
            let ArrowDataType::LargeList(inner) = dtype.to_storage() else { return Err(missing()) };
            let values = read(&inner.dtype, came, input)?;
            Ok(Box::new(ListArray::try_new(own(), offsets, values, validity).map_err(Misfit::new)?))
        }
        PhysicalType::FixedSizeList => {
            let validity = read_validity(came, input, len)?;
            let ArrowDataType::FixedSizeList(inner, _) = dtype.to_storage() else { return Err(missing()) };
            let values = read(&inner.dtype, came, input)?;
            Ok(Box::new(FixedSizeListArray::try_new(own(), len, values, validity).map_err(Misfit::new)?))
        }
        PhysicalType::Struct => {
            let validity = read_validity(came, input, len)?;
            let ArrowDataType::Struct(fields) = dtype.to_storage() else { return Err(missing()) };
            let fields = fields.iter().map(|field| read(&field.dtype, came, input)).collect::<Result<_, _>>()?;
            Ok(Box::new(StructArray::try_new(own(), len, fields, validity).map_err(Misfit::new)?))
        }
        PhysicalType::Dictionary(key) => keys!(key, K => read_dictionary::<K>(own(), came, input)),
        other => Err(Misfit::new(format!("a column of {other:?} cannot come from another process"))),
    }
}

fn read_views<T: ViewType + ?Sized>(
    dtype: ArrowDataType,
    len: usize,
    came: &mut Came,
    input: &mut Decoder<'_>,
) -> Result<Box<dyn Array>, Misfit> {
    let validity = read_validity(came, input, len)?;
    let views = came.buffer::<StringView>(Some(len))?;
    let count: usize = input.value()?;
    let buffers = (0..count).map(|_| came.buffer::<u8>(None)).collect::<Result<Buffer<_>, _>>()?;
    // A worker may have been anywhere in its memory; a parent has not.
    if !is_worker_process() {
        check_views(&views, &buffers, T::IS_UTF8)?;
    }
    // SAFETY: the views were checked; or they come from the parent, who has them in an array of this type.
    let array = unsafe { BinaryViewArrayGeneric::<T>::new_unchecked_unknown_md(dtype, views, buffers, validity, None) };
    Ok(Box::new(array))
}

/// Whether all views lie within the buffers, and are text if they must be.
fn check_views(views: &[StringView], buffers: &[Buffer<u8>], text: bool) -> Result<(), Misfit> {
    let ascii: Vec<bool> = buffers.iter().map(|buffer| !text || buffer.is_ascii()).collect();
    for view in views {
        let bytes;
        let (found, plain) = if view.is_inline() {
            bytes = view.as_u128().to_ne_bytes();
            let (bytes, rest) = bytes[4..].split_at(view.length as usize);
            if rest.iter().any(|byte| *byte != 0) {
                return Err(missing());
            }
            (bytes, !text || bytes.is_ascii())
        } else {
            let (buffer, start) = (view.buffer_idx as usize, view.offset as usize);
            let bytes = buffers.get(buffer).and_then(|buffer| buffer.get(start..start + view.length as usize));
            (bytes.ok_or_else(missing)?, ascii[buffer])
        };
        if !plain && std::str::from_utf8(found).is_err() {
            return Err(Misfit::new("a text is not UTF-8"));
        }
    }
    Ok(())
}

fn read_dictionary<K: DictionaryKey>(
    dtype: ArrowDataType,
    came: &mut Came,
    input: &mut Decoder<'_>,
) -> Result<Box<dyn Array>, Misfit> {
    let ArrowDataType::Dictionary(key, values, _) = dtype.to_storage() else { return Err(missing()) };
    let keys = read(&(*key).into(), came, input)?;
    let values = read(values, came, input)?;
    let keys = is::<PrimitiveArray<K>>(&*keys)?.clone();
    Ok(Box::new(DictionaryArray::try_new(dtype, keys, values).map_err(Misfit::new)?))
}
