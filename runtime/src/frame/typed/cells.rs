//! [`ColumnCells`]: a contiguous part of a column; and [`CellDeserializer`]: a serde deserializer of one cell.

use std::ops::Range;

use polars::prelude::*;
use polars_core::utils::arrow::array::{Array, BinaryViewArray, BooleanArray, PrimitiveArray, Utf8ViewArray};
use polars_core::utils::arrow::bitmap::Bitmap;
use polars_core::utils::arrow::types::NativeType;
use serde::de::value::BorrowedStrDeserializer;
use serde::de::{Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;

use super::error::RowError;

/// The numbers of a column and their validity.
pub(super) struct NumberCells<'a, T> {
    values: &'a [T],
    valid: Option<&'a Bitmap>,
    /// The position of the first value in the bitmap.
    offset: usize,
}

impl<T: Copy> NumberCells<'_, T> {
    #[inline(always)]
    fn get(&self, index: usize) -> Option<T> {
        self.valid.is_none_or(|valid| valid.get_bit(self.offset + index)).then(|| self.values[index])
    }
}

/// The cells of one buffer of a column, from some row on. A `usize` is the position of that row in the array.
pub(super) enum ColumnCells<'a> {
    Null,
    Bool(&'a BooleanArray, usize),
    I8(NumberCells<'a, i8>),
    I16(NumberCells<'a, i16>),
    I32(NumberCells<'a, i32>),
    I64(NumberCells<'a, i64>),
    I128(NumberCells<'a, i128>),
    U8(NumberCells<'a, u8>),
    U16(NumberCells<'a, u16>),
    U32(NumberCells<'a, u32>),
    U64(NumberCells<'a, u64>),
    U128(NumberCells<'a, u128>),
    F32(NumberCells<'a, f32>),
    F64(NumberCells<'a, f64>),
    Text(&'a Utf8ViewArray, usize),
    Bytes(&'a BinaryViewArray, usize),
    /// A copy with another type: categories as strings, decimals and half floats as `f64`.
    CastText(StringChunked),
    CastFloat(Float64Chunked),
    /// A type that no field can have.
    Unreadable(&'a DataType),
}

impl<'a> ColumnCells<'a> {
    /// The cells of the buffer that has the first of these rows, from that row on; and the row behind the last of them.
    pub(super) fn at(
        column: &'a Series,
        Range { start: row, end: last }: Range<usize>,
    ) -> Result<(Self, usize), String> {
        let mut start = 0;
        for array in column.chunks() {
            let end = start + array.len();
            if row < end {
                let end = end.min(last);
                return Ok((Self::from_array(column, array.as_ref(), row - start, row, end)?, end));
            }
            start = end;
        }
        Ok((Self::Null, usize::MAX))
    }

    fn from_array(
        column: &'a Series,
        array: &'a dyn Array,
        index: usize,
        row: usize,
        end: usize,
    ) -> Result<Self, String> {
        fn numbers<T: NativeType>(array: &dyn Array, index: usize) -> Option<NumberCells<'_, T>> {
            let array: &PrimitiveArray<T> = array.as_any().downcast_ref()?;
            let valid = array.validity().filter(|valid| valid.unset_bits() > 0);
            Some(NumberCells { values: &array.values().as_slice()[index..], valid, offset: index })
        }
        let dtype = column.dtype();
        let copied = || column.slice(crate::frame::rows::slice_offset(row), end - row);
        let column_error = |error: PolarsError| format!("the column `{}`: {error}", column.name());
        if dtype.is_categorical() || dtype.is_enum() {
            let texts = copied().cast(&DataType::String).map_err(column_error)?;
            return texts.str().cloned().map(Self::CastText).map_err(column_error);
        }
        if dtype.is_decimal() || matches!(dtype, DataType::Float16) {
            let floats = copied().cast(&DataType::Float64).map_err(column_error)?;
            return floats.f64().cloned().map(Self::CastFloat).map_err(column_error);
        }
        let cells = match dtype.to_physical() {
            DataType::Null => Some(Self::Null),
            DataType::Boolean => array.as_any().downcast_ref().map(|array| Self::Bool(array, index)),
            DataType::Int8 => numbers(array, index).map(Self::I8),
            DataType::Int16 => numbers(array, index).map(Self::I16),
            DataType::Int32 => numbers(array, index).map(Self::I32),
            DataType::Int64 => numbers(array, index).map(Self::I64),
            DataType::Int128 => numbers(array, index).map(Self::I128),
            DataType::UInt8 => numbers(array, index).map(Self::U8),
            DataType::UInt16 => numbers(array, index).map(Self::U16),
            DataType::UInt32 => numbers(array, index).map(Self::U32),
            DataType::UInt64 => numbers(array, index).map(Self::U64),
            DataType::UInt128 => numbers(array, index).map(Self::U128),
            DataType::Float32 => numbers(array, index).map(Self::F32),
            DataType::Float64 => numbers(array, index).map(Self::F64),
            DataType::String => array.as_any().downcast_ref().map(|array| Self::Text(array, index)),
            DataType::Binary => array.as_any().downcast_ref().map(|array| Self::Bytes(array, index)),
            _ => None,
        };
        Ok(cells.unwrap_or(Self::Unreadable(dtype)))
    }

    fn is_null(&self, index: usize) -> bool {
        macro_rules! is_valid {
            ($cells:expr) => {
                $cells.get(index).is_some()
            };
        }
        let is_valid = match self {
            Self::Null => false,
            Self::Bool(array, offset) => array.is_valid(index + offset),
            Self::I8(cells) => is_valid!(cells),
            Self::I16(cells) => is_valid!(cells),
            Self::I32(cells) => is_valid!(cells),
            Self::I64(cells) => is_valid!(cells),
            Self::I128(cells) => is_valid!(cells),
            Self::U8(cells) => is_valid!(cells),
            Self::U16(cells) => is_valid!(cells),
            Self::U32(cells) => is_valid!(cells),
            Self::U64(cells) => is_valid!(cells),
            Self::U128(cells) => is_valid!(cells),
            Self::F32(cells) => is_valid!(cells),
            Self::F64(cells) => is_valid!(cells),
            Self::Text(array, offset) => array.is_valid(index + offset),
            Self::Bytes(array, offset) => array.is_valid(index + offset),
            Self::CastText(cells) => is_valid!(cells),
            Self::CastFloat(cells) => is_valid!(cells),
            Self::Unreadable(_) => true,
        };
        !is_valid
    }
}

/// One cell of a row: a serde deserializer.
#[derive(Clone, Copy)]
pub(super) struct CellDeserializer<'c, 'a> {
    pub(super) cells: &'c ColumnCells<'a>,
    pub(super) index: usize,
}

impl<'a> CellDeserializer<'_, 'a> {
    /// Passes the value to the visitor, or returns the visitor unused if the cell is null.
    #[inline(always)]
    fn visit<V: Visitor<'a>>(self, visitor: V) -> Result<Result<V::Value, RowError>, V> {
        macro_rules! value {
            ($value:expr, $visit:ident) => {
                match $value {
                    Some(value) => Ok(visitor.$visit(value)),
                    None => Err(visitor),
                }
            };
        }
        let index = self.index;
        match self.cells {
            ColumnCells::Null => Err(visitor),
            ColumnCells::Bool(array, offset) => value!(array.get(index + offset), visit_bool),
            ColumnCells::I8(cells) => value!(cells.get(index), visit_i8),
            ColumnCells::I16(cells) => value!(cells.get(index), visit_i16),
            ColumnCells::I32(cells) => value!(cells.get(index), visit_i32),
            ColumnCells::I64(cells) => value!(cells.get(index), visit_i64),
            ColumnCells::I128(cells) => value!(cells.get(index), visit_i128),
            ColumnCells::U8(cells) => value!(cells.get(index), visit_u8),
            ColumnCells::U16(cells) => value!(cells.get(index), visit_u16),
            ColumnCells::U32(cells) => value!(cells.get(index), visit_u32),
            ColumnCells::U64(cells) => value!(cells.get(index), visit_u64),
            ColumnCells::U128(cells) => value!(cells.get(index), visit_u128),
            ColumnCells::F32(cells) => value!(cells.get(index), visit_f32),
            ColumnCells::F64(cells) => value!(cells.get(index), visit_f64),
            ColumnCells::Text(array, offset) => value!(array.get(index + offset), visit_borrowed_str),
            ColumnCells::Bytes(array, offset) => value!(array.get(index + offset), visit_borrowed_bytes),
            ColumnCells::CastText(cells) => value!(cells.get(index), visit_str),
            ColumnCells::CastFloat(cells) => value!(cells.get(index), visit_f64),
            ColumnCells::Unreadable(dtype) => Ok(Err(RowError::unreadable(dtype))),
        }
    }
}

impl<'de> CellDeserializer<'_, 'de> {
    /// Passes a value that must not be null to the visitor, for a column of another type than the field's. This is
    /// rare: not inlined, so that the code inlined for each field stays short.
    #[inline(never)]
    fn required<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
        self.visit(visitor).unwrap_or_else(|_| {
            Err(RowError::custom("it is null, and its field cannot be null: make the field an `Option`"))
        })
    }
}

macro_rules! required {
    ($($method:ident)*) => {$(
        #[inline(always)]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
            self.required(visitor)
        }
    )*};
}

/// Methods for a field of the column's own type: one comparison of the variant, and the value.
macro_rules! same_type {
    ($($method:ident $visit:ident $variant:ident;)*) => {$(
        #[inline(always)]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
            if let ColumnCells::$variant(cells) = self.cells
                && let Some(value) = cells.get(self.index)
            {
                return visitor.$visit(value);
            }
            self.required(visitor)
        }
    )*};
}

macro_rules! text {
    ($($method:ident)*) => {$(
        #[inline(always)]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
            if let ColumnCells::Text(array, offset) = self.cells
                && let Some(text) = array.get(self.index + offset)
            {
                return visitor.visit_borrowed_str(text);
            }
            self.required(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for CellDeserializer<'_, 'de> {
    type Error = RowError;

    same_type! {
        deserialize_i8 visit_i8 I8;
        deserialize_i16 visit_i16 I16;
        deserialize_i32 visit_i32 I32;
        deserialize_i64 visit_i64 I64;
        deserialize_i128 visit_i128 I128;
        deserialize_u8 visit_u8 U8;
        deserialize_u16 visit_u16 U16;
        deserialize_u32 visit_u32 U32;
        deserialize_u64 visit_u64 U64;
        deserialize_u128 visit_u128 U128;
        deserialize_f32 visit_f32 F32;
        deserialize_f64 visit_f64 F64;
    }

    text! { deserialize_str deserialize_string }

    required! { deserialize_bool deserialize_char deserialize_bytes deserialize_byte_buf }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
        self.visit(visitor).unwrap_or_else(Visitor::visit_unit)
    }

    #[inline(always)]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
        if self.cells.is_null(self.index) { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, RowError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
        visitor.visit_unit()
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, RowError> {
        let text = match self.cells {
            ColumnCells::Text(array, offset) => array.get(self.index + offset),
            ColumnCells::CastText(cells) => {
                let text = cells.get(self.index).ok_or_else(|| RowError::custom("it is null"))?;
                return visitor.visit_enum(serde::de::value::StrDeserializer::new(text));
            }
            _ => None,
        };
        let text = text.ok_or_else(|| RowError::custom("an enum's variant is the text of its name"))?;
        visitor.visit_enum(BorrowedStrDeserializer::new(text))
    }

    forward_to_deserialize_any! { unit unit_struct seq tuple tuple_struct map struct identifier }
}
