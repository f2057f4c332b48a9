//! [`TableBuilder`]: builds a frame from values that implement `serde::Serialize`, one row per value.
//!
//! Each field of a struct is appended to its column. The first value that is not null decides on the column's type.

mod column;

use std::fmt;

use polars::prelude::*;
use serde::ser::{self, Error as _, Impossible, Serialize, SerializeStruct, SerializeTuple, SerializeTupleStruct};

use column::{CellWriter, ColumnBuilder};

/// The column name of values that are not structs.
const VALUE: &str = "";

/// The error of a value that cannot be a row.
#[derive(Debug)]
pub(crate) struct TableError(String);

impl ser::Error for TableError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TableError {}

/// The rows so far, by column.
#[doc(hidden)]
pub struct TableBuilder {
    columns: Vec<(PlSmallStr, ColumnBuilder)>,
    rows: usize,
    capacity: usize,
}

impl TableBuilder {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { columns: Vec::new(), rows: 0, capacity }
    }

    /// Adds a row.
    #[inline]
    pub(crate) fn push(&mut self, value: &impl Serialize) -> Result<(), String> {
        value.serialize(RowWriter(self)).map_err(|error| format!("result {}: {error}", self.rows))?;
        self.rows += 1;
        Ok(())
    }

    pub(crate) fn finish(self) -> PolarsResult<DataFrame> {
        let columns = self.columns.into_iter().map(|(name, values)| values.finish(name).map(Column::from));
        DataFrame::new(self.rows, columns.collect::<PolarsResult<_>>()?)
    }

    /// Appends a value to the column of this name, which is most likely the one at `hint`.
    #[inline]
    fn write<T: Serialize + ?Sized>(&mut self, hint: usize, name: &str, value: &T) -> Result<(), TableError> {
        let is_hit = self.columns.get(hint).is_some_and(|(column, _)| column == name);
        let index = if is_hit { hint } else { self.find_or_add(name) };
        let (_, values) = &mut self.columns[index];
        if values.len() > self.rows {
            return Err(TableError(format!("two of its fields are named `{name}`")));
        }
        value
            .serialize(CellWriter { values, capacity: self.capacity })
            .map_err(|error| TableError(format!("field `{name}`: {error}")))
    }

    /// The index of a column. A new column is null in all rows before.
    #[cold]
    fn find_or_add(&mut self, name: &str) -> usize {
        self.columns.iter().position(|(column, _)| column == name).unwrap_or_else(|| {
            self.columns.push((name.into(), ColumnBuilder::Nulls(self.rows)));
            self.columns.len() - 1
        })
    }

    /// Ends a row: fields that it does not have are null.
    #[inline]
    fn end_row(&mut self) {
        for (_, values) in &mut self.columns {
            if values.len() == self.rows {
                values.push_null();
            }
        }
    }

    fn write_single<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), TableError> {
        self.write(0, VALUE, value)?;
        self.end_row();
        Ok(())
    }
}

/// Writes one row.
struct RowWriter<'t>(&'t mut TableBuilder);

/// Writes the fields of a row, in order.
struct FieldWriter<'t> {
    table: &'t mut TableBuilder,
    next: usize,
}

impl FieldWriter<'_> {
    #[inline]
    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), TableError> {
        self.next += 1;
        self.table.write(self.next - 1, name, value)
    }

    fn numbered_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), TableError> {
        // Polars' own names of columns without a name.
        self.field(&format!("column_{}", self.next), value)
    }
}

impl SerializeStruct for FieldWriter<'_> {
    type Ok = ();
    type Error = TableError;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), TableError> {
        self.field(name, value)
    }

    /// A skipped field is null, and its column exists.
    fn skip_field(&mut self, name: &'static str) -> Result<(), TableError> {
        self.field(name, &())
    }

    #[inline]
    fn end(self) -> Result<(), TableError> {
        self.table.end_row();
        Ok(())
    }
}

impl SerializeTuple for FieldWriter<'_> {
    type Ok = ();
    type Error = TableError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), TableError> {
        self.numbered_field(value)
    }

    fn end(self) -> Result<(), TableError> {
        SerializeStruct::end(self)
    }
}

impl SerializeTupleStruct for FieldWriter<'_> {
    type Ok = ();
    type Error = TableError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), TableError> {
        self.numbered_field(value)
    }

    fn end(self) -> Result<(), TableError> {
        SerializeStruct::end(self)
    }
}

macro_rules! single {
    ($($method:ident($type:ty))*) => {$(
        fn $method(self, value: $type) -> Result<(), TableError> {
            self.0.write_single(&value)
        }
    )*};
}

/// The error of a type that cannot be a row.
fn not_a_row<T>(what: &str) -> Result<T, TableError> {
    Err(TableError::custom(format_args!("{what} cannot be a row of a frame: give a struct, a tuple or a single value")))
}

impl<'t> ser::Serializer for RowWriter<'t> {
    type Ok = ();
    type Error = TableError;
    type SerializeSeq = Impossible<(), TableError>;
    type SerializeTuple = FieldWriter<'t>;
    type SerializeTupleStruct = FieldWriter<'t>;
    type SerializeTupleVariant = Impossible<(), TableError>;
    type SerializeMap = Impossible<(), TableError>;
    type SerializeStruct = FieldWriter<'t>;
    type SerializeStructVariant = Impossible<(), TableError>;

    single! {
        serialize_bool(bool) serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64)
        serialize_i128(i128) serialize_u8(u8) serialize_u16(u16) serialize_u32(u32) serialize_u64(u64)
        serialize_u128(u128) serialize_f32(f32) serialize_f64(f64) serialize_char(char) serialize_str(&str)
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), TableError> {
        let TableBuilder { columns, rows, capacity } = self.0;
        if columns.is_empty() {
            columns.push((VALUE.into(), ColumnBuilder::Nulls(*rows)));
        }
        ser::Serializer::serialize_bytes(CellWriter { values: &mut columns[0].1, capacity: *capacity }, value)
    }

    /// Null in all columns.
    fn serialize_none(self) -> Result<(), TableError> {
        self.0.end_row();
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), TableError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), TableError> {
        self.0.write_single(&())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), TableError> {
        self.0.write_single(&())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), TableError> {
        self.0.write_single(variant)
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
        not_a_row("an enum with data")
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, TableError> {
        not_a_row("a sequence")
    }

    fn serialize_tuple(self, _: usize) -> Result<FieldWriter<'t>, TableError> {
        Ok(FieldWriter { table: self.0, next: 0 })
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<FieldWriter<'t>, TableError> {
        Ok(FieldWriter { table: self.0, next: 0 })
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, TableError> {
        not_a_row("an enum with data")
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, TableError> {
        not_a_row("a map")
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<FieldWriter<'t>, TableError> {
        Ok(FieldWriter { table: self.0, next: 0 })
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, TableError> {
        not_a_row("an enum with data")
    }
}
