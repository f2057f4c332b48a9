//! [`RowReader`]: reads rows as values of a type that serde can deserialize.

use std::cell::{Cell, OnceCell};

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::cells::{CellDeserializer, ColumnCells};
use super::error::RowError;

/// Reads rows of one type.
pub(super) struct RowReader<'n, 'a> {
    names: &'n [&'a str],
    /// The indices of all columns.
    all: Vec<usize>,
    /// The indices of the columns of the struct's fields, in the order of the fields.
    pub(super) fields: OnceCell<Vec<usize>>,
    /// Whether each field has a column.
    has_all_fields: Cell<bool>,
    /// Whether rows are read by name. The first row always is: two of the names may be aliases of one field, which
    /// serde reports as an error.
    pub(super) by_name: bool,
    /// Whether the first row has decided on `by_name`.
    is_decided: bool,
}

impl<'n, 'a> RowReader<'n, 'a> {
    pub(super) fn new(names: &'n [&'a str]) -> Self {
        Self {
            names,
            all: (0..names.len()).collect(),
            fields: OnceCell::new(),
            has_all_fields: Cell::new(false),
            by_name: true,
            is_decided: false,
        }
    }

    /// Reads a row by the names of its columns.
    #[inline(always)]
    pub(super) fn read<R: Deserialize<'a>>(&mut self, cells: &[ColumnCells<'a>], index: usize) -> Result<R, RowError> {
        let read = R::deserialize(RowDeserializer { reader: self, cells, index })?;
        if !self.is_decided {
            self.is_decided = true;
            self.by_name = !self.has_all_fields.get();
        }
        Ok(read)
    }

    /// Reads all further rows by name.
    #[cold]
    pub(super) fn use_names(&mut self) {
        self.by_name = true;
    }

    /// The columns of these fields; fields without a column are skipped.
    fn columns_of(&self, fields: &'static [&'static str]) -> &[usize] {
        self.fields.get_or_init(|| {
            let column_of = |field: &&str| self.names.iter().position(|name| name == field);
            let found: Vec<usize> = fields.iter().filter_map(column_of).collect();
            self.has_all_fields.set(found.len() == fields.len());
            found
        })
    }
}

/// One row, read by its columns' names: a serde deserializer.
#[derive(Clone, Copy)]
pub(super) struct RowDeserializer<'r, 'a> {
    pub(super) reader: &'r RowReader<'r, 'a>,
    pub(super) cells: &'r [ColumnCells<'a>],
    pub(super) index: usize,
}

impl<'r, 'a> RowDeserializer<'r, 'a> {
    fn fields(self, columns: &'r [usize]) -> FieldAccess<'r, 'a> {
        FieldAccess { row: self, columns, next: 0 }
    }

    fn all_columns(self) -> FieldAccess<'r, 'a> {
        self.fields(&self.reader.all)
    }

    /// The cell of a row of one column.
    fn only_cell(self) -> Result<CellDeserializer<'r, 'a>, RowError> {
        match self.cells {
            [cells] => Ok(CellDeserializer { cells, index: self.index }),
            cells => Err(RowError::new(format!(
                "a row of {} columns is not a single value: take a struct or a tuple, or select one column",
                cells.len()
            ))),
        }
    }
}

macro_rules! single {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, RowError> {
            self.only_cell()?.$method(visitor)
        }
    )*};
}

impl<'a> Deserializer<'a> for RowDeserializer<'_, 'a> {
    type Error = RowError;

    single! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32
        deserialize_f64 deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf
        deserialize_identifier
    }

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, RowError> {
        visitor.visit_map(self.all_columns())
    }

    fn deserialize_map<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, RowError> {
        visitor.visit_map(self.all_columns())
    }

    #[inline(always)]
    fn deserialize_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, RowError> {
        visitor.visit_map(self.fields(self.reader.columns_of(fields)))
    }

    fn deserialize_seq<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, RowError> {
        visitor.visit_seq(self.all_columns())
    }

    fn deserialize_tuple<V: Visitor<'a>>(self, length: usize, visitor: V) -> Result<V::Value, RowError> {
        if length != self.cells.len() {
            let columns = self.cells.len();
            return Err(RowError::new(format!("a tuple of {length} cannot hold a row of {columns} columns")));
        }
        visitor.visit_seq(self.all_columns())
    }

    fn deserialize_tuple_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, RowError> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(self, _: &'static str, visitor: V) -> Result<V::Value, RowError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, RowError> {
        if self.cells.len() == 1 { self.only_cell()?.deserialize_option(visitor) } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, RowError> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'a>>(self, _: &'static str, visitor: V) -> Result<V::Value, RowError> {
        visitor.visit_unit()
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, RowError> {
        self.only_cell()?.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, RowError> {
        visitor.visit_unit()
    }
}

/// Access to some of a row's cells, in order.
struct FieldAccess<'r, 'a> {
    row: RowDeserializer<'r, 'a>,
    columns: &'r [usize],
    next: usize,
}

impl<'r, 'a> FieldAccess<'r, 'a> {
    #[inline(always)]
    fn next_cell<T>(
        &mut self,
        read: impl FnOnce(CellDeserializer<'r, 'a>) -> Result<T, RowError>,
    ) -> Result<T, RowError> {
        let Some(&column) = self.columns.get(self.next) else {
            return Err(RowError::custom("there are no more cells"));
        };
        self.next += 1;
        let RowDeserializer { reader, cells, index } = self.row;
        read(CellDeserializer { cells: &cells[column], index }).map_err(|error| error.of_column(reader.names[column]))
    }
}

impl<'a> SeqAccess<'a> for FieldAccess<'_, 'a> {
    type Error = RowError;

    #[inline(always)]
    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, RowError> {
        if self.next == self.columns.len() {
            return Ok(None);
        }
        self.next_cell(|cell| seed.deserialize(cell)).map(Some)
    }

    // The provided method calls `next_element_seed`, which may not be inlined.
    #[inline(always)]
    fn next_element<T: Deserialize<'a>>(&mut self) -> Result<Option<T>, RowError> {
        if self.next == self.columns.len() {
            return Ok(None);
        }
        self.next_cell(T::deserialize).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.columns.len() - self.next)
    }
}

impl<'a> MapAccess<'a> for FieldAccess<'_, 'a> {
    type Error = RowError;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, RowError> {
        let Some(&column) = self.columns.get(self.next) else { return Ok(None) };
        seed.deserialize(BorrowedStrDeserializer::new(self.row.reader.names[column])).map(Some)
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, RowError> {
        self.next_cell(|cell| seed.deserialize(cell))
    }
}
