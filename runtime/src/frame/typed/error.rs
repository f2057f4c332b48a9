//! [`RowError`]: the error of a row that cannot be read as its type.

use std::fmt;

use serde::de;

/// The error of a row that cannot be read as its type.
///
/// It is one pointer in size, so that the result of reading a cell is returned in registers.
#[derive(Debug)]
pub(super) struct RowError(Box<String>);

impl RowError {
    pub(super) fn new(text: String) -> Self {
        Self(Box::new(text))
    }

    #[cold]
    pub(super) fn unreadable(dtype: &polars::prelude::DataType) -> Self {
        let fix = if dtype.is_nested() { "unnest it" } else { "cast it" };
        Self::new(format!("it is {dtype}, which no field of a row can hold: {fix}, or leave the field away"))
    }

    #[cold]
    pub(super) fn of_column(self, name: &str) -> Self {
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
