//! [`ColumnBuilder`]: builds one column; and [`CellWriter`]: a serde serializer that appends one value to it.

use polars::prelude::*;
use polars_core::utils::arrow::array::{
    Array, MutableArray, MutableBinaryViewArray, MutableBooleanArray, MutablePrimitiveArray,
};
use serde::ser::{self, Error as _, Impossible, Serialize};

use super::TableError;

macro_rules! values {
    ($($variant:ident $type:ty, $method:ident;)*) => {
        /// The values of a column so far.
        pub(super) enum ColumnBuilder {
            /// The number of nulls, before the first other value.
            Nulls(usize),
            Bool(MutableBooleanArray),
            Text(MutableBinaryViewArray<str>),
            Bytes(MutableBinaryViewArray<[u8]>),
            $($variant(MutablePrimitiveArray<$type>),)*
        }

        impl ColumnBuilder {
            pub(super) fn len(&self) -> usize {
                match self {
                    Self::Nulls(nulls) => *nulls,
                    Self::Bool(values) => values.len(),
                    Self::Text(values) => values.len(),
                    Self::Bytes(values) => values.len(),
                    $(Self::$variant(values) => values.len(),)*
                }
            }

            #[inline]
            pub(super) fn push_null(&mut self) {
                match self {
                    Self::Nulls(nulls) => *nulls += 1,
                    Self::Bool(values) => values.push_null(),
                    Self::Text(values) => values.push_null(),
                    Self::Bytes(values) => values.push_null(),
                    $(Self::$variant(values) => values.push(None),)*
                }
            }

            pub(super) fn finish(self, name: PlSmallStr) -> PolarsResult<Series> {
                let mut values: Box<dyn MutableArray> = match self {
                    Self::Nulls(nulls) => return Ok(Series::new_null(name, nulls)),
                    Self::Bool(values) => Box::new(values),
                    Self::Text(values) => Box::new(values),
                    Self::Bytes(values) => Box::new(values),
                    $(Self::$variant(values) => Box::new(values),)*
                };
                let array: Box<dyn Array> = values.as_box();
                Series::from_arrow(name, array)
            }
        }

        impl CellWriter<'_> {
            $(
                #[inline]
                fn $method(self, value: $type) -> Result<(), TableError> {
                    if let ColumnBuilder::Nulls(nulls) = *self.values {
                        let mut values = MutablePrimitiveArray::with_capacity(self.capacity);
                        values.extend_null(nulls);
                        *self.values = ColumnBuilder::$variant(values);
                    }
                    match self.values {
                        ColumnBuilder::$variant(values) => values.push(Some(value)),
                        _ => return other_type(),
                    }
                    Ok(())
                }
            )*
        }
    };
}

values! {
    I8 i8, i8;
    I16 i16, i16;
    I32 i32, i32;
    I64 i64, i64;
    I128 i128, i128;
    U8 u8, u8;
    U16 u16, u16;
    U32 u32, u32;
    U64 u64, u64;
    U128 u128, u128;
    F32 f32, f32;
    F64 f64, f64;
}

#[cold]
fn other_type() -> Result<(), TableError> {
    Err(TableError::custom("its values are of several types"))
}

#[cold]
fn nested<T>() -> Result<T, TableError> {
    Err(TableError::custom("nested values cannot be cells of a frame: give numbers, truth values, texts or bytes"))
}

/// Appends one value: a serde serializer.
pub(super) struct CellWriter<'v> {
    pub(super) values: &'v mut ColumnBuilder,
    /// The expected number of rows.
    pub(super) capacity: usize,
}

macro_rules! number {
    ($($method:ident $number:ident;)*) => {$(
        #[inline]
        fn $method(self, value: $number) -> Result<(), TableError> {
            self.$number(value)
        }
    )*};
}

impl ser::Serializer for CellWriter<'_> {
    type Ok = ();
    type Error = TableError;
    type SerializeSeq = Impossible<(), TableError>;
    type SerializeTuple = Impossible<(), TableError>;
    type SerializeTupleStruct = Impossible<(), TableError>;
    type SerializeTupleVariant = Impossible<(), TableError>;
    type SerializeMap = Impossible<(), TableError>;
    type SerializeStruct = Impossible<(), TableError>;
    type SerializeStructVariant = Impossible<(), TableError>;

    number! {
        serialize_i8 i8;
        serialize_i16 i16;
        serialize_i32 i32;
        serialize_i64 i64;
        serialize_i128 i128;
        serialize_u8 u8;
        serialize_u16 u16;
        serialize_u32 u32;
        serialize_u64 u64;
        serialize_u128 u128;
        serialize_f32 f32;
        serialize_f64 f64;
    }

    fn serialize_bool(self, value: bool) -> Result<(), TableError> {
        if let ColumnBuilder::Nulls(nulls) = *self.values {
            let mut values = MutableBooleanArray::with_capacity(self.capacity);
            values.extend_null(nulls);
            *self.values = ColumnBuilder::Bool(values);
        }
        match self.values {
            ColumnBuilder::Bool(values) => values.push(Some(value)),
            _ => return other_type(),
        }
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), TableError> {
        if let ColumnBuilder::Nulls(nulls) = *self.values {
            let mut values = MutableBinaryViewArray::with_capacity(self.capacity);
            values.extend_null(nulls);
            *self.values = ColumnBuilder::Text(values);
        }
        match self.values {
            ColumnBuilder::Text(values) => values.push(Some(value)),
            _ => return other_type(),
        }
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), TableError> {
        if let ColumnBuilder::Nulls(nulls) = *self.values {
            let mut values = MutableBinaryViewArray::with_capacity(self.capacity);
            values.extend_null(nulls);
            *self.values = ColumnBuilder::Bytes(values);
        }
        match self.values {
            ColumnBuilder::Bytes(values) => values.push(Some(value)),
            _ => return other_type(),
        }
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), TableError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_none(self) -> Result<(), TableError> {
        self.values.push_null();
        Ok(())
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), TableError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), TableError> {
        self.serialize_none()
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), TableError> {
        self.serialize_none()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), TableError> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), TableError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), TableError> {
        nested()
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, TableError> {
        nested()
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, TableError> {
        nested()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, TableError> {
        nested()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, TableError> {
        nested()
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, TableError> {
        nested()
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct, TableError> {
        nested()
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, TableError> {
        nested()
    }
}
