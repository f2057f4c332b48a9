//! Arrow arrays: numbers describe them, and their buffers lie side by side in one attachment.

use polars::prelude::PolarsResult;
use polars_arrow::array::{
    Array, BinaryArray, BooleanArray, DictionaryArray, DictionaryKey, FixedSizeListArray, Float16Array, Float32Array,
    Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, Int128Array, ListArray, NullArray, PrimitiveArray,
    StructArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array, UInt128Array,
};
use polars_arrow::bitmap::Bitmap;
use polars_arrow::datatypes::{ArrowDataType, PhysicalType, PrimitiveType};
use polars_arrow::match_integer_type;
use polars_arrow::offset::OffsetsBuffer;
use polars_buffer::Buffer;

use super::buffers::{ColumnBuffers, ReceivedBuffers, missing};
use super::views;
use crate::process::codec::CodecError;

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

/// Adds the buffers of an array, and the numbers that describe it.
pub(super) fn write(array: &dyn Array, to: &mut ColumnBuffers) -> Result<(), CodecError> {
    to.numbers.push(array.len());
    to.add_validity(array.validity())?;
    match array.dtype().to_physical_type() {
        PhysicalType::Null => Ok(()),
        PhysicalType::Boolean => to.add_bitmap(downcast::<BooleanArray>(array)?.values()),
        PhysicalType::Primitive(primitive) => primitives!(primitive, A => to.add(downcast::<A>(array)?.values())),
        PhysicalType::Utf8View => views::write::<str>(downcast(array)?, to),
        PhysicalType::BinaryView => views::write::<[u8]>(downcast(array)?, to),
        PhysicalType::LargeBinary => write_binary(downcast(array)?, to),
        PhysicalType::LargeList => {
            let array: &ListArray<i64> = downcast(array)?;
            to.add(array.offsets().buffer())?;
            write(&**array.values(), to)
        }
        PhysicalType::FixedSizeList => write(&**downcast::<FixedSizeListArray>(array)?.values(), to),
        PhysicalType::Struct => {
            downcast::<StructArray>(array)?.values().iter().try_for_each(|field| write(&**field, to))
        }
        PhysicalType::Dictionary(key) => match_integer_type!(key, |$K| {
            let array: &DictionaryArray<$K> = downcast(array)?;
            to.add(array.keys().values())?;
            write(&**array.values(), to)
        }),
        other => Err(CodecError::new(format!("a column of {other:?} cannot go to another process"))),
    }
}

/// Downcasts an array to the type that its Arrow type names.
fn downcast<T: 'static>(array: &dyn Array) -> Result<&T, CodecError> {
    array.as_any().downcast_ref().ok_or_else(|| CodecError::new(format!("{:?} is no array of its type", array.dtype())))
}

fn write_binary(array: &BinaryArray<i64>, to: &mut ColumnBuffers) -> Result<(), CodecError> {
    let (first, last) = (*array.offsets().first(), *array.offsets().last());
    let used = usize::try_from(first).ok().zip(usize::try_from(last).ok());
    let used = used.filter(|(first, last)| first <= last && *last <= array.values().len()).ok_or_else(missing)?;
    to.add(&array.offsets().iter().map(|offset| offset - first).collect::<Buffer<i64>>())?;
    to.add(&array.values().clone().sliced(used.0..used.1))
}

/// Reads an array of this type.
pub(super) fn read(dtype: &ArrowDataType, from: &mut ReceivedBuffers) -> Result<Box<dyn Array>, CodecError> {
    let len = from.number()?;
    let validity = from.validity(len)?;
    let own = dtype.clone();
    match dtype.to_physical_type() {
        PhysicalType::Null => boxed(NullArray::try_new(own, len)),
        PhysicalType::Boolean => boxed(BooleanArray::try_new(own, from.bitmap(len)?, validity)),
        PhysicalType::Primitive(primitive) => {
            primitives!(primitive, A => boxed(A::try_new(own, from.shared(Some(len))?, validity)))
        }
        PhysicalType::Utf8View => views::read::<str>(own, len, validity, from),
        PhysicalType::BinaryView => views::read::<[u8]>(own, len, validity, from),
        PhysicalType::LargeBinary => {
            let offsets = read_offsets(from, len)?;
            boxed(BinaryArray::<i64>::try_new(own, offsets, from.own(None)?, validity))
        }
        PhysicalType::LargeList => {
            let offsets = read_offsets(from, len)?;
            let values = read(ListArray::<i64>::get_child_type(dtype), from)?;
            boxed(ListArray::try_new(own, offsets, values, validity))
        }
        PhysicalType::FixedSizeList => {
            let ArrowDataType::FixedSizeList(inner, _) = dtype.to_storage() else { return Err(missing()) };
            let values = read(&inner.dtype, from)?;
            boxed(FixedSizeListArray::try_new(own, len, values, validity))
        }
        PhysicalType::Struct => {
            let fields = StructArray::get_fields(dtype).iter().map(|field| read(&field.dtype, from));
            let fields = fields.collect::<Result<_, _>>()?;
            boxed(StructArray::try_new(own, len, fields, validity))
        }
        PhysicalType::Dictionary(key) => {
            match_integer_type!(key, |$K| read_dictionary::<$K>(own, len, validity, from))
        }
        other => Err(CodecError::new(format!("a column of {other:?} cannot come from another process"))),
    }
}

fn boxed<A: Array>(array: PolarsResult<A>) -> Result<Box<dyn Array>, CodecError> {
    Ok(Box::new(array.map_err(CodecError::new)?))
}

/// Reads the offsets of `len` lists or values.
fn read_offsets(from: &mut ReceivedBuffers, len: usize) -> Result<OffsetsBuffer<i64>, CodecError> {
    let offsets = from.own::<i64>(Some(len.checked_add(1).ok_or_else(missing)?))?;
    OffsetsBuffer::try_from(offsets).map_err(CodecError::new)
}

fn read_dictionary<K: DictionaryKey>(
    dtype: ArrowDataType,
    len: usize,
    validity: Option<Bitmap>,
    from: &mut ReceivedBuffers,
) -> Result<Box<dyn Array>, CodecError> {
    let ArrowDataType::Dictionary(key, values, _) = dtype.to_storage() else { return Err(missing()) };
    let key = (*key).into();
    let mut keys = from.copied::<K>(Some(len), |_| Ok(()))?;
    let values = read(values, from)?;
    for (row, key) in keys.iter_mut().enumerate() {
        if validity.as_ref().is_some_and(|validity| !validity.get_bit(row)) {
            *key = K::default();
        } else if !(*key).try_into().is_ok_and(|key| key < values.len()) {
            return Err(CodecError::new("a category that is not among the categories"));
        }
    }
    let keys = PrimitiveArray::try_new(key, keys.into(), validity).map_err(CodecError::new)?;
    boxed(DictionaryArray::<K>::try_new(dtype, keys, values))
}
