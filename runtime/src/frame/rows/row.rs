//! [`Reader`]: rows as serde sees them.

use std::cell::{Cell as Flag, OnceCell};
use std::fmt;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::cells::{Cell, Cells};

/// Why a row is not of its type. One word long: cells that are read by the million return in registers.
#[derive(Debug)]
pub(super) struct RowError(Box<String>);

impl RowError {
    fn new(text: String) -> Self {
        Self(Box::new(text))
    }

    #[cold]
    pub(super) fn nested(dtype: &polars::prelude::DataType) -> Self {
        Self::new(format!("it is {dtype}, which no field of a row can hold: unnest it, or leave the field away"))
    }

    #[cold]
    fn of_column(self, name: &str) -> Self {
        Self::new(format!("column `{name}`: {self}"))
    }
}

impl de::Error for RowError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("the frame has no column `{field}`, which the row's type asks for"))
    }
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RowError {}

/// Reads rows of one type.
pub(super) struct Reader<'n, 'a> {
    names: &'n [&'a str],
    all: Vec<usize>,
    /// The columns of the struct's fields, in their order.
    fields: OnceCell<Vec<usize>>,
    /// Whether each field has its column.
    complete: Flag<bool>,
    /// Whether a struct's fields are given by position.
    ///
    /// Not before a row was read by names: two of the names may be aliases of one field, which serde then refuses.
    by_position: Flag<bool>,
    settled: bool,
}

impl<'n, 'a> Reader<'n, 'a> {
    pub(super) fn new(names: &'n [&'a str]) -> Self {
        Self {
            names,
            all: (0..names.len()).collect(),
            fields: OnceCell::new(),
            complete: Flag::new(false),
            by_position: Flag::new(false),
            settled: false,
        }
    }

    #[inline(always)]
    pub(super) fn read<R: Deserialize<'a>>(&mut self, cells: &[Cells<'a>], index: usize) -> Result<R, RowError> {
        let row = Row { reader: self, cells, index };
        if self.settled {
            let read = R::deserialize(row);
            if read.is_ok() || !self.by_position.get() {
                return read;
            }
            // A type written by hand may know its fields by name alone.
            self.by_position.set(false);
            return R::deserialize(row);
        }
        let read = R::deserialize(row)?;
        self.by_position.set(self.complete.get());
        self.settled = true;
        Ok(read)
    }

    /// The columns of these fields, of those that have one.
    fn columns_of(&self, fields: &'static [&'static str]) -> &[usize] {
        self.fields.get_or_init(|| {
            let place = |field: &&str| self.names.iter().position(|name| name == field);
            let found: Vec<usize> = fields.iter().filter_map(place).collect();
            self.complete.set(found.len() == fields.len());
            found
        })
    }
}

#[derive(Clone, Copy)]
struct Row<'r, 'a> {
    reader: &'r Reader<'r, 'a>,
    cells: &'r [Cells<'a>],
    index: usize,
}

impl<'r, 'a> Row<'r, 'a> {
    fn fields(self, columns: &'r [usize]) -> Fields<'r, 'a> {
        Fields { row: self, columns, next: 0 }
    }

    fn all(self) -> Fields<'r, 'a> {
        self.fields(&self.reader.all)
    }

    /// The one cell of a row of one column.
    fn only(self) -> Result<Cell<'r, 'a>, RowError> {
        match self.cells {
            [cells] => Ok(Cell { cells, index: self.index }),
            cells => Err(RowError::new(format!(
                "a row of {} columns is no single value: take a struct or a tuple, or select one column",
                cells.len()
            ))),
        }
    }
}

macro_rules! single {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, RowError> {
            self.only()?.$method(visitor)
        }
    )*};
}

impl<'a> Deserializer<'a> for Row<'_, 'a> {
    type Error = RowError;

    single! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32
        deserialize_f64 deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf
        deserialize_identifier
    }

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, RowError> {
        visitor.visit_map(self.all())
    }

    fn deserialize_map<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, RowError> {
        visitor.visit_map(self.all())
    }

    #[inline(always)]
    fn deserialize_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, RowError> {
        let fields = self.fields(self.reader.columns_of(fields));
        if self.reader.by_position.get() { visitor.visit_seq(fields) } else { visitor.visit_map(fields) }
    }

    fn deserialize_seq<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, RowError> {
        visitor.visit_seq(self.all())
    }

    fn deserialize_tuple<V: Visitor<'a>>(self, length: usize, visitor: V) -> Result<V::Value, RowError> {
        if length != self.cells.len() {
            let columns = self.cells.len();
            return Err(RowError::new(format!("a tuple of {length} cannot hold a row of {columns} columns")));
        }
        visitor.visit_seq(self.all())
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
        if self.cells.len() == 1 { self.only()?.deserialize_option(visitor) } else { visitor.visit_some(self) }
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
        self.only()?.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, RowError> {
        visitor.visit_unit()
    }
}

/// Some of a row's cells, in order.
struct Fields<'r, 'a> {
    row: Row<'r, 'a>,
    columns: &'r [usize],
    next: usize,
}

impl<'r, 'a> Fields<'r, 'a> {
    #[inline(always)]
    fn cell<T>(&mut self, read: impl FnOnce(Cell<'r, 'a>) -> Result<T, RowError>) -> Result<T, RowError> {
        let Some(&column) = self.columns.get(self.next) else {
            return Err(RowError::custom("there are no more cells"));
        };
        self.next += 1;
        let Row { reader, cells, index } = self.row;
        read(Cell { cells: &cells[column], index }).map_err(|error| error.of_column(reader.names[column]))
    }
}

impl<'a> SeqAccess<'a> for Fields<'_, 'a> {
    type Error = RowError;

    #[inline(always)]
    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, RowError> {
        if self.next == self.columns.len() {
            return Ok(None);
        }
        self.cell(|cell| seed.deserialize(cell)).map(Some)
    }

    // As the provided method, with one call less that may not be inlined.
    #[inline(always)]
    fn next_element<T: Deserialize<'a>>(&mut self) -> Result<Option<T>, RowError> {
        if self.next == self.columns.len() {
            return Ok(None);
        }
        self.cell(T::deserialize).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.columns.len() - self.next)
    }
}

impl<'a> MapAccess<'a> for Fields<'_, 'a> {
    type Error = RowError;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, RowError> {
        let Some(&column) = self.columns.get(self.next) else { return Ok(None) };
        seed.deserialize(BorrowedStrDeserializer::new(self.row.reader.names[column])).map(Some)
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, RowError> {
        self.cell(|cell| seed.deserialize(cell))
    }
}
