//! [`Cells`]: one piece of a column, read cell by cell.

use std::ops::Range;

use polars::prelude::*;
use polars_core::utils::arrow::array::{Array, BinaryViewArray, BooleanArray, PrimitiveArray, Utf8ViewArray};
use polars_core::utils::arrow::bitmap::Bitmap;
use polars_core::utils::arrow::types::NativeType;
use serde::de::value::BorrowedStrDeserializer;
use serde::de::{Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;

use super::error::RowError;

/// Numbers and which of them are there.
pub(super) struct Numbers<'a, T> {
    values: &'a [T],
    valid: Option<&'a Bitmap>,
    /// Where in the bitmap the first one stands.
    shift: usize,
}

impl<T: Copy> Numbers<'_, T> {
    #[inline(always)]
    fn get(&self, index: usize) -> Option<T> {
        self.valid.is_none_or(|valid| valid.get_bit(self.shift + index)).then(|| self.values[index])
    }
}

/// The cells of a column's piece, from some row on.
pub(super) enum Cells<'a> {
    Null,
    Bool(&'a BooleanArray, usize),
    I8(Numbers<'a, i8>),
    I16(Numbers<'a, i16>),
    I32(Numbers<'a, i32>),
    I64(Numbers<'a, i64>),
    I128(Numbers<'a, i128>),
    U8(Numbers<'a, u8>),
    U16(Numbers<'a, u16>),
    U32(Numbers<'a, u32>),
    U64(Numbers<'a, u64>),
    U128(Numbers<'a, u128>),
    F32(Numbers<'a, f32>),
    F64(Numbers<'a, f64>),
    Text(&'a Utf8ViewArray, usize),
    Bytes(&'a BinaryViewArray, usize),
    /// Of a type that is another one in memory: categories as texts, decimals and half floats as floats.
    Texts(StringChunked),
    Floats(Float64Chunked),
    /// Of a type that no field can hold.
    Unreadable(&'a DataType),
}

impl<'a> Cells<'a> {
    /// The piece of the column that holds the first of these rows, from that on; and the row after its last one.
    pub(super) fn at(
        column: &'a Series,
        Range { start: row, end: last }: Range<usize>,
    ) -> Result<(Self, usize), String> {
        let mut start = 0;
        for array in column.chunks() {
            let end = start + array.len();
            if row < end {
                let end = end.min(last);
                return Ok((Self::of(column, array.as_ref(), row - start, row, end)?, end));
            }
            start = end;
        }
        Ok((Self::Null, usize::MAX))
    }

    fn of(column: &'a Series, array: &'a dyn Array, index: usize, row: usize, end: usize) -> Result<Self, String> {
        fn numbers<T: NativeType>(array: &dyn Array, index: usize) -> Option<Numbers<'_, T>> {
            let array: &PrimitiveArray<T> = array.as_any().downcast_ref()?;
            let valid = array.validity().filter(|valid| valid.unset_bits() > 0);
            Some(Numbers { values: &array.values().as_slice()[index..], valid, shift: index })
        }
        let dtype = column.dtype();
        let piece = || column.slice(crate::frame::rows::offset(row), end - row);
        let failed = |error: PolarsError| format!("the column `{}`: {error}", column.name());
        if dtype.is_categorical() || dtype.is_enum() {
            let texts = piece().cast(&DataType::String).map_err(failed)?;
            return texts.str().cloned().map(Self::Texts).map_err(failed);
        }
        if dtype.is_decimal() || matches!(dtype, DataType::Float16) {
            let floats = piece().cast(&DataType::Float64).map_err(failed)?;
            return floats.f64().cloned().map(Self::Floats).map_err(failed);
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
        macro_rules! there {
            ($cells:expr) => {
                $cells.get(index).is_some()
            };
        }
        let there = match self {
            Self::Null => false,
            Self::Bool(array, shift) => array.is_valid(index + shift),
            Self::I8(cells) => there!(cells),
            Self::I16(cells) => there!(cells),
            Self::I32(cells) => there!(cells),
            Self::I64(cells) => there!(cells),
            Self::I128(cells) => there!(cells),
            Self::U8(cells) => there!(cells),
            Self::U16(cells) => there!(cells),
            Self::U32(cells) => there!(cells),
            Self::U64(cells) => there!(cells),
            Self::U128(cells) => there!(cells),
            Self::F32(cells) => there!(cells),
            Self::F64(cells) => there!(cells),
            Self::Text(array, shift) => array.is_valid(index + shift),
            Self::Bytes(array, shift) => array.is_valid(index + shift),
            Self::Texts(cells) => there!(cells),
            Self::Floats(cells) => there!(cells),
            Self::Unreadable(_) => true,
        };
        !there
    }
}

/// One cell of a row.
#[derive(Clone, Copy)]
pub(super) struct Cell<'c, 'a> {
    pub(super) cells: &'c Cells<'a>,
    pub(super) index: usize,
}

impl<'a> Cell<'_, 'a> {
    /// Gives the value to the visitor; `None` without having asked it anything where it is null.
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
            Cells::Null => Err(visitor),
            Cells::Bool(array, shift) => value!(array.get(index + shift), visit_bool),
            Cells::I8(cells) => value!(cells.get(index), visit_i8),
            Cells::I16(cells) => value!(cells.get(index), visit_i16),
            Cells::I32(cells) => value!(cells.get(index), visit_i32),
            Cells::I64(cells) => value!(cells.get(index), visit_i64),
            Cells::I128(cells) => value!(cells.get(index), visit_i128),
            Cells::U8(cells) => value!(cells.get(index), visit_u8),
            Cells::U16(cells) => value!(cells.get(index), visit_u16),
            Cells::U32(cells) => value!(cells.get(index), visit_u32),
            Cells::U64(cells) => value!(cells.get(index), visit_u64),
            Cells::U128(cells) => value!(cells.get(index), visit_u128),
            Cells::F32(cells) => value!(cells.get(index), visit_f32),
            Cells::F64(cells) => value!(cells.get(index), visit_f64),
            Cells::Text(array, shift) => value!(array.get(index + shift), visit_borrowed_str),
            Cells::Bytes(array, shift) => value!(array.get(index + shift), visit_borrowed_bytes),
            Cells::Texts(cells) => value!(cells.get(index), visit_str),
            Cells::Floats(cells) => value!(cells.get(index), visit_f64),
            Cells::Unreadable(dtype) => Ok(Err(RowError::unreadable(dtype))),
        }
    }
}

impl<'de> Cell<'_, 'de> {
    /// A value that must be there, of a column whose type is not the field's: rarely, so that what is inlined for each
    /// field stays short.
    #[inline(never)]
    fn required<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
        self.visit(visitor).unwrap_or_else(|_| {
            Err(RowError::custom("it is null, for which its field has no room: make the field an `Option`"))
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

/// The way of a field of the column's own type: one comparison, and the value.
macro_rules! of_the_same_type {
    ($($method:ident $visit:ident $variant:ident;)*) => {$(
        #[inline(always)]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
            if let Cells::$variant(cells) = self.cells
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
            if let Cells::Text(array, shift) = self.cells
                && let Some(text) = array.get(self.index + shift)
            {
                return visitor.visit_borrowed_str(text);
            }
            self.required(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Cell<'_, 'de> {
    type Error = RowError;

    of_the_same_type! {
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
            Cells::Text(array, shift) => array.get(self.index + shift),
            Cells::Texts(cells) => {
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
