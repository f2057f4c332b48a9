//! [`Reader`]: rows as serde sees them.

use std::cell::{Cell as Flag, OnceCell};

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::cells::{Cell, Cells};
use super::error::RowError;

/// Reads rows of one type.
pub(super) struct Reader<'n, 'a> {
    names: &'n [&'a str],
    all: Vec<usize>,
    /// The columns of the struct's fields, in their order.
    fields: OnceCell<Vec<usize>>,
    /// Whether each field has its column.
    complete: Flag<bool>,
    /// Whether rows must be read by name.
    ///
    /// At first they are: two of the names may be aliases of one field, which serde then refuses.
    by_name: bool,
    settled: bool,
}

impl<'n, 'a> Reader<'n, 'a> {
    pub(super) fn new(names: &'n [&'a str]) -> Self {
        Self {
            names,
            all: (0..names.len()).collect(),
            fields: OnceCell::new(),
            complete: Flag::new(false),
            by_name: true,
            settled: false,
        }
    }

    /// Reads a row by its columns' names.
    #[inline(always)]
    pub(super) fn read<R: Deserialize<'a>>(&mut self, cells: &[Cells<'a>], index: usize) -> Result<R, RowError> {
        let read = R::deserialize(Row { reader: self, cells, index })?;
        if !self.settled {
            self.settled = true;
            self.by_name = !self.complete.get();
        }
        Ok(read)
    }

    /// The cells of a struct's fields in their order, once a row has shown that each field has its column.
    pub(super) fn ordered<'r>(&'r self, cells: &'r [Cells<'a>]) -> Option<Ordered<'r, 'a>> {
        let fields = self.fields.get().filter(|_| !self.by_name)?;
        Some(Ordered { reader: self, cells, fields: fields.iter().map(|&column| &cells[column]).collect() })
    }

    /// Reads by name from now on.
    #[cold]
    pub(super) fn by_name(&mut self) {
        self.by_name = true;
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

/// The cells of a struct's fields, in their order.
pub(super) struct Ordered<'r, 'a> {
    reader: &'r Reader<'r, 'a>,
    cells: &'r [Cells<'a>],
    fields: Vec<&'r Cells<'a>>,
}

impl<'a> Ordered<'_, 'a> {
    #[inline(always)]
    pub(super) fn row(&self, index: usize) -> OrderedRow<'_, 'a> {
        OrderedRow { all: Row { reader: self.reader, cells: self.cells, index }, fields: &self.fields }
    }
}

/// A row whose struct is read by position. Its errors name no column: whoever meets one reads by name again.
#[derive(Clone, Copy)]
pub(super) struct OrderedRow<'r, 'a> {
    all: Row<'r, 'a>,
    fields: &'r [&'r Cells<'a>],
}

macro_rules! as_by_name {
    ($($method:ident($($argument:ident: $type:ty),*))*) => {$(
        fn $method<V: Visitor<'a>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, RowError> {
            self.all.$method($($argument,)* visitor)
        }
    )*};
}

impl<'a> Deserializer<'a> for OrderedRow<'_, 'a> {
    type Error = RowError;

    #[inline(always)]
    fn deserialize_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, RowError> {
        visitor.visit_seq(InOrder { fields: self.fields.iter(), index: self.all.index })
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

/// The fields of a struct, one after the other.
struct InOrder<'r, 'a> {
    fields: std::slice::Iter<'r, &'r Cells<'a>>,
    index: usize,
}

impl<'a> SeqAccess<'a> for InOrder<'_, 'a> {
    type Error = RowError;

    #[inline(always)]
    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, RowError> {
        match self.fields.next() {
            Some(cells) => seed.deserialize(Cell { cells, index: self.index }).map(Some),
            None => Ok(None),
        }
    }

    // As the provided method, with one call less that may not be inlined.
    #[inline(always)]
    fn next_element<T: Deserialize<'a>>(&mut self) -> Result<Option<T>, RowError> {
        match self.fields.next() {
            Some(cells) => T::deserialize(Cell { cells, index: self.index }).map(Some),
            None => Ok(None),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.fields.len())
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
        visitor.visit_map(self.fields(self.reader.columns_of(fields)))
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
