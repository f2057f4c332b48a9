//! [`OrderedRowDeserializer`]: reads a row's struct by the positions of its fields, without a comparison of names.

use serde::de::{Deserialize, DeserializeSeed, Deserializer, SeqAccess, Visitor};

use super::cells::{CellDeserializer, ColumnCells};
use super::error::RowError;
use super::row::{RowDeserializer, RowReader};

impl<'a> RowReader<'_, 'a> {
    /// The columns in the order of the struct's fields, once a row has shown that each field has a column.
    pub(super) fn ordered_columns<'r>(&'r self, cells: &'r [ColumnCells<'a>]) -> Option<OrderedColumns<'r, 'a>> {
        let fields = self.fields.get().filter(|_| !self.by_name)?;
        Some(OrderedColumns { reader: self, cells, fields: fields.iter().map(|&column| &cells[column]).collect() })
    }
}

/// The columns of a struct's fields, in the order of the fields.
pub(super) struct OrderedColumns<'r, 'a> {
    pub(super) reader: &'r RowReader<'r, 'a>,
    pub(super) cells: &'r [ColumnCells<'a>],
    pub(super) fields: Vec<&'r ColumnCells<'a>>,
}

impl<'a> OrderedColumns<'_, 'a> {
    #[inline(always)]
    pub(super) fn row(&self, index: usize) -> OrderedRowDeserializer<'_, 'a> {
        OrderedRowDeserializer {
            all: RowDeserializer { reader: self.reader, cells: self.cells, index },
            fields: &self.fields,
        }
    }
}

/// A row whose struct is read by position. Its errors do not name the column: after an error the row is read again by
/// name.
#[derive(Clone, Copy)]
pub(super) struct OrderedRowDeserializer<'r, 'a> {
    all: RowDeserializer<'r, 'a>,
    fields: &'r [&'r ColumnCells<'a>],
}

macro_rules! as_by_name {
    ($($method:ident($($argument:ident: $type:ty),*))*) => {$(
        fn $method<V: Visitor<'a>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, RowError> {
            self.all.$method($($argument,)* visitor)
        }
    )*};
}

impl<'a> Deserializer<'a> for OrderedRowDeserializer<'_, 'a> {
    type Error = RowError;

    #[inline(always)]
    fn deserialize_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, RowError> {
        visitor.visit_seq(OrderedFieldAccess { fields: self.fields.iter(), index: self.all.index })
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(self, _: &'static str, visitor: V) -> Result<V::Value, RowError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, RowError> {
        if self.all.cells.len() == 1 { self.all.deserialize_option(visitor) } else { visitor.visit_some(self) }
    }

    as_by_name! {
        deserialize_any() deserialize_bool() deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64()
        deserialize_i128() deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_u128()
        deserialize_f32() deserialize_f64() deserialize_char() deserialize_str() deserialize_string()
        deserialize_bytes() deserialize_byte_buf() deserialize_unit() deserialize_seq() deserialize_map()
        deserialize_identifier() deserialize_ignored_any()
        deserialize_unit_struct(name: &'static str)
        deserialize_tuple(length: usize)
        deserialize_tuple_struct(name: &'static str, length: usize)
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
    }
}

/// Access to the fields of a struct, in order.
struct OrderedFieldAccess<'r, 'a> {
    fields: std::slice::Iter<'r, &'r ColumnCells<'a>>,
    index: usize,
}

impl<'a> SeqAccess<'a> for OrderedFieldAccess<'_, 'a> {
    type Error = RowError;

    #[inline(always)]
    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, RowError> {
        match self.fields.next() {
            Some(cells) => seed.deserialize(CellDeserializer { cells, index: self.index }).map(Some),
            None => Ok(None),
        }
    }

    // The provided method calls `next_element_seed`, which may not be inlined.
    #[inline(always)]
    fn next_element<T: Deserialize<'a>>(&mut self) -> Result<Option<T>, RowError> {
        match self.fields.next() {
            Some(cells) => T::deserialize(CellDeserializer { cells, index: self.index }).map(Some),
            None => Ok(None),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.fields.len())
    }
}
