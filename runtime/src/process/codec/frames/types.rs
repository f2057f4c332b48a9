//! The Arrow types of columns: which of them cross. serde writes and reads them.

use polars_arrow::datatypes::{ArrowDataType as Type, Field};

use super::categories;
use crate::process::codec::CodecError;

/// Arrow's name for Polars' object type. Its values are addresses in memory, so a compromised worker could choose them.
const OBJECT: &str = "_POLARS_PYTHON_OBJECT";

/// The nesting levels of a type that are written and read. Each level takes a stack frame.
const MAX_DEPTH: u8 = 100;

/// Checks that columns of this type can be written and read, and retains the categories that the type names.
pub(super) fn check_field(field: &Field) -> Result<(), CodecError> {
    check_field_within(field, MAX_DEPTH)
}

/// Checks a field whose type may have `depth` levels.
fn check_field_within(field: &Field, depth: u8) -> Result<(), CodecError> {
    check_type(&field.dtype, depth)?;
    // `retain` walks all levels of the type, whose number is checked now.
    categories::retain(field);
    Ok(())
}

#[allow(clippy::match_same_arms, reason = "a line for each kind of types")]
fn check_type(dtype: &Type, depth: u8) -> Result<(), CodecError> {
    let depth = depth.checked_sub(1).ok_or_else(|| {
        CodecError::new(format!(
            "a column of a type that is too deep, with more than {MAX_DEPTH} lists and structs within each other: \
             send a flatter one (`explode`, `unnest`)"
        ))
    })?;
    match dtype {
        Type::Null | Type::Boolean | Type::BinaryView | Type::Utf8View | Type::LargeBinary => Ok(()),
        Type::Int8 | Type::Int16 | Type::Int32 | Type::Int64 | Type::Int128 => Ok(()),
        Type::UInt8 | Type::UInt16 | Type::UInt32 | Type::UInt64 | Type::UInt128 => Ok(()),
        Type::Float16 | Type::Float32 | Type::Float64 | Type::Decimal(..) => Ok(()),
        Type::Date32 | Type::Timestamp(..) | Type::Duration(_) | Type::Time64(_) => Ok(()),
        Type::LargeList(inner) | Type::FixedSizeList(inner, _) => check_field_within(inner, depth),
        Type::Struct(fields) => fields.iter().try_for_each(|field| check_field_within(field, depth)),
        Type::Dictionary(_, values, _) => check_type(values, depth),
        Type::Extension(extension) if extension.name != OBJECT => check_type(&extension.inner, depth),
        other => Err(CodecError::new(format!("a column of type {other:?} cannot go to another process"))),
    }
}

/// Whether a column of this type holds categories or enum values, at any level.
pub(super) fn has_categories(dtype: &Type) -> bool {
    match dtype {
        Type::Dictionary(..) => true,
        Type::LargeList(inner) | Type::FixedSizeList(inner, _) => has_categories(&inner.dtype),
        Type::Struct(fields) => fields.iter().any(|field| has_categories(&field.dtype)),
        Type::Extension(extension) => has_categories(&extension.inner),
        _ => false,
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::process::codec::{Decoder, Encoder};

    #[test]
    fn a_type_nested_too_deep_is_refused() {
        for (levels, crosses) in [(MAX_DEPTH - 1, true), (MAX_DEPTH, false), (u8::MAX, false)] {
            let field = |dtype| Field::new("item".into(), dtype, true);
            let dtype = (0..levels).fold(Type::Int64, |inner, _| Type::LargeList(Box::new(field(inner))));
            let field = field(dtype);
            let checked = check_field(&field);
            let told = checked.as_ref().is_err_and(|error| error.to_string().contains("too deep"));
            assert_eq!((checked.is_ok(), told), (crosses, !crosses), "{levels}: {checked:?}");
            if crosses {
                let mut bytes = Vec::new();
                Encoder::new(&mut bytes, &mut Vec::new(), None).value(&field).expect("serde writes it");
                assert_eq!(Decoder::new(&bytes, Vec::new()).value::<Field>().expect("it was written"), field);
            }
        }
    }
}
