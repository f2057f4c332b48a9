//! Arrow arrays: the message describes them, and their buffers lie side by side in one attachment.

use polars_arrow::array::{
    Array, BinaryArray, BooleanArray, DictionaryArray, DictionaryKey, FixedSizeListArray, Float16Array, Float32Array,
    Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, Int128Array, ListArray, NullArray, PrimitiveArray,
    StructArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array, UInt128Array,
};
use polars_arrow::datatypes::{ArrowDataType, IntegerType, PhysicalType, PrimitiveType};
use polars_arrow::offset::OffsetsBuffer;
use polars_arrow::types::NativeType;
use polars_buffer::{Buffer, SharedStorage};

use super::bitmaps::{downcast, read_bitmap, read_validity, write_bitmap, write_validity};
use super::buffers::{ColumnBuffers, ReceivedBuffers, missing};
use super::views;
use crate::process::codec::{CodecError, Decoder, Encoder};

macro_rules! primitives {
    ($primitive:expr, $name:ident => $with:expr, $($variant:ident $array:ty),*) => {
        match $primitive {
            $(PrimitiveType::$variant => {
                type $name = $array;
                $with
            })*
            other => Err(CodecError::new(format!("a column of {other:?} cannot go to another process"))),
        }
    };
    ($primitive:expr, $name:ident => $with:expr) => {
        primitives!(
            $primitive, $name => $with, Int8 Int8Array, Int16 Int16Array, Int32 Int32Array, Int64 Int64Array,
            Int128 Int128Array, UInt8 UInt8Array, UInt16 UInt16Array, UInt32 UInt32Array, UInt64 UInt64Array,
            UInt128 UInt128Array, Float16 Float16Array, Float32 Float32Array, Float64 Float64Array
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
            other => Err(CodecError::new(format!("a dictionary with {other:?} keys cannot go to another process"))),
        }
    };
    ($key:expr, $name:ident => $with:expr) => {
        keys!(
            $key, $name => $with, Int8 i8, Int16 i16, Int32 i32, Int64 i64, UInt8 u8, UInt16 u16, UInt32 u32,
            UInt64 u64
        )
    };
}

/// Writes the description of an array, and adds its buffers.
pub(super) fn write<'a>(
    array: &'a dyn Array,
    buffers: &mut ColumnBuffers<'a>,
    out: &mut Encoder<'_>,
) -> Result<(), CodecError> {
    out.value(&array.len())?;
    match array.dtype().to_physical_type() {
        PhysicalType::Null => Ok(()),
        PhysicalType::Boolean => {
            let array: &BooleanArray = downcast(array)?;
            write_validity(array.validity(), buffers, out)?;
            write_bitmap(array.values(), buffers, out)
        }
        PhysicalType::Primitive(primitive) => {
            primitives!(primitive, A => write_primitive(downcast::<A>(array)?, buffers, out))
        }
        PhysicalType::Utf8View => views::write::<str>(array, buffers, out),
        PhysicalType::BinaryView => views::write::<[u8]>(array, buffers, out),
        PhysicalType::LargeBinary => write_binary(downcast(array)?, buffers, out),
        PhysicalType::LargeList => write_list(array, buffers, out),
        PhysicalType::FixedSizeList => {
            let array: &FixedSizeListArray = downcast(array)?;
            write_validity(array.validity(), buffers, out)?;
            write(&**array.values(), buffers, out)
        }
        PhysicalType::Struct => {
            let array: &StructArray = downcast(array)?;
            write_validity(array.validity(), buffers, out)?;
            array.values().iter().try_for_each(|field| write(&**field, buffers, out))
        }
        PhysicalType::Dictionary(key) => keys!(key, K => {
            let array: &DictionaryArray<K> = downcast(array)?;
            write(array.keys(), buffers, out)?;
            write(&**array.values(), buffers, out)
        }),
        other => Err(CodecError::new(format!("a column of {other:?} cannot go to another process"))),
    }
}

fn write_primitive<'a, T: NativeType>(
    array: &'a PrimitiveArray<T>,
    buffers: &mut ColumnBuffers<'a>,
    out: &mut Encoder<'_>,
) -> Result<(), CodecError> {
    write_validity(array.validity(), buffers, out)?;
    buffers.add_values(array.values().as_slice());
    Ok(())
}

fn write_binary<'a>(
    array: &'a BinaryArray<i64>,
    buffers: &mut ColumnBuffers<'a>,
    out: &mut Encoder<'_>,
) -> Result<(), CodecError> {
    write_validity(array.validity(), buffers, out)?;
    let (first, last) = (*array.offsets().first(), *array.offsets().last());
    let used = usize::try_from(first).ok().zip(usize::try_from(last).ok());
    let used = used.and_then(|(first, last)| array.values().get(first..last)).ok_or_else(missing)?;
    let offsets: Vec<i64> = array.offsets().iter().map(|offset| offset - first).collect();
    buffers.add_own(SharedStorage::bytes_from_pod_vec(offsets));
    buffers.add(used);
    Ok(())
}

fn write_list<'a>(
    array: &'a dyn Array,
    buffers: &mut ColumnBuffers<'a>,
    out: &mut Encoder<'_>,
) -> Result<(), CodecError> {
    let array: &ListArray<i64> = downcast(array)?;
    write_validity(array.validity(), buffers, out)?;
    buffers.add_values(array.offsets().as_slice());
    write(&**array.values(), buffers, out)
}

/// Reads an array of this type.
pub(super) fn read(
    dtype: &ArrowDataType,
    received: &mut ReceivedBuffers,
    input: &mut Decoder<'_>,
) -> Result<Box<dyn Array>, CodecError> {
    let len: usize = input.value()?;
    let own = || dtype.clone();
    match dtype.to_physical_type() {
        PhysicalType::Null => Ok(Box::new(NullArray::try_new(own(), len).map_err(CodecError::new)?)),
        PhysicalType::Boolean => {
            let validity = read_validity(received, input, len)?;
            let values = read_bitmap(received, input, len)?;
            Ok(Box::new(BooleanArray::try_new(own(), values, validity).map_err(CodecError::new)?))
        }
        PhysicalType::Primitive(primitive) => primitives!(primitive, A => {
            let validity = read_validity(received, input, len)?;
            let values = Buffer::from_storage(received.shared(Some(len))?);
            Ok(Box::new(A::try_new(own(), values, validity).map_err(CodecError::new)?) as Box<dyn Array>)
        }),
        PhysicalType::Utf8View => views::read::<str>(own(), len, received, input),
        PhysicalType::BinaryView => views::read::<[u8]>(own(), len, received, input),
        PhysicalType::LargeBinary => {
            let validity = read_validity(received, input, len)?;
            let offsets = read_offsets(received, len)?;
            let values = received.own_buffer::<u8>(None)?;
            Ok(Box::new(BinaryArray::<i64>::try_new(own(), offsets, values, validity).map_err(CodecError::new)?))
        }
        PhysicalType::LargeList => {
            let validity = read_validity(received, input, len)?;
            let offsets = read_offsets(received, len)?;
            let ArrowDataType::LargeList(inner) = dtype.to_storage() else { return Err(missing()) };
            let values = read(&inner.dtype, received, input)?;
            Ok(Box::new(ListArray::try_new(own(), offsets, values, validity).map_err(CodecError::new)?))
        }
        PhysicalType::FixedSizeList => {
            let validity = read_validity(received, input, len)?;
            let ArrowDataType::FixedSizeList(inner, _) = dtype.to_storage() else { return Err(missing()) };
            let values = read(&inner.dtype, received, input)?;
            Ok(Box::new(FixedSizeListArray::try_new(own(), len, values, validity).map_err(CodecError::new)?))
        }
        PhysicalType::Struct => {
            let validity = read_validity(received, input, len)?;
            let ArrowDataType::Struct(fields) = dtype.to_storage() else { return Err(missing()) };
            let fields = fields.iter().map(|field| read(&field.dtype, received, input)).collect::<Result<_, _>>()?;
            Ok(Box::new(StructArray::try_new(own(), len, fields, validity).map_err(CodecError::new)?))
        }
        PhysicalType::Dictionary(key) => keys!(key, K => read_dictionary::<K>(own(), received, input)),
        other => Err(CodecError::new(format!("a column of {other:?} cannot come from another process"))),
    }
}

/// Reads the offsets of `len` lists or values.
fn read_offsets(received: &mut ReceivedBuffers, len: usize) -> Result<OffsetsBuffer<i64>, CodecError> {
    let offsets = received.own_buffer::<i64>(Some(len.checked_add(1).ok_or_else(missing)?))?;
    OffsetsBuffer::try_from(offsets).map_err(CodecError::new)
}

fn read_dictionary<K: DictionaryKey>(
    dtype: ArrowDataType,
    received: &mut ReceivedBuffers,
    input: &mut Decoder<'_>,
) -> Result<Box<dyn Array>, CodecError> {
    let ArrowDataType::Dictionary(key, values, _) = dtype.to_storage() else { return Err(missing()) };
    let key = (*key).into();
    let len: usize = input.value()?;
    let validity = read_validity(received, input, len)?;
    let mut keys = received.copied::<K>(Some(len), |_| Ok(()))?;
    let values = read(values, received, input)?;
    for (row, key) in keys.iter_mut().enumerate() {
        if validity.as_ref().is_some_and(|validity| !validity.get_bit(row)) {
            *key = K::default();
        } else if !(*key).try_into().is_ok_and(|key| key < values.len()) {
            return Err(CodecError::new("a category that is not among the categories"));
        }
    }
    let keys = PrimitiveArray::try_new(key, keys.into(), validity).map_err(CodecError::new)?;
    Ok(Box::new(DictionaryArray::<K>::try_new(dtype, keys, values).map_err(CodecError::new)?))
}
