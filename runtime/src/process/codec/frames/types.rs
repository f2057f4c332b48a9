//! The Arrow types of columns: writing and reading them.

use std::sync::Arc;

use polars_arrow::datatypes::{ArrowDataType as Type, ExtensionType, Field, IntegerType, Metadata, TimeUnit};

use super::categories;
use crate::process::codec::{CodecError, Decoder, Encoder};

/// The types without parameters; a type's tag is its index.
const PLAIN: [Type; 19] = [
    Type::Null,
    Type::Boolean,
    Type::Int8,
    Type::Int16,
    Type::Int32,
    Type::Int64,
    Type::Int128,
    Type::UInt8,
    Type::UInt16,
    Type::UInt32,
    Type::UInt64,
    Type::UInt128,
    Type::Float16,
    Type::Float32,
    Type::Float64,
    Type::Date32,
    Type::BinaryView,
    Type::Utf8View,
    Type::LargeBinary,
];

/// Arrow's name for Polars' object type. Its values are addresses in memory, so a compromised worker could choose them.
const OBJECT: &str = "_POLARS_PYTHON_OBJECT";

/// The nesting levels of a type that are written and read. Each level takes a stack frame.
const MAX_DEPTH: u8 = 100;

/// The depth that is left for the inner types.
fn deeper(depth: u8) -> Result<u8, CodecError> {
    depth.checked_sub(1).ok_or_else(|| {
        CodecError::new(format!(
            "a column of a type that is too deep, with more than {MAX_DEPTH} lists and structs within each other: \
             send a flatter one (`explode`, `unnest`)"
        ))
    })
}

const TIMESTAMP: u8 = 32;
const DURATION: u8 = 33;
const TIME: u8 = 34;
const DECIMAL: u8 = 35;
const LIST: u8 = 36;
const ARRAY: u8 = 37;
const STRUCT: u8 = 38;
const DICTIONARY: u8 = 39;
const EXTENSION: u8 = 40;

const UNITS: [TimeUnit; 4] = [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond];

const DICTIONARY_KEYS: [IntegerType; 8] = [
    IntegerType::Int8,
    IntegerType::Int16,
    IntegerType::Int32,
    IntegerType::Int64,
    IntegerType::UInt8,
    IntegerType::UInt16,
    IntegerType::UInt32,
    IntegerType::UInt64,
];

pub(super) fn write_field(field: &Field, out: &mut Encoder<'_>) -> Result<(), CodecError> {
    write_field_within(field, out, MAX_DEPTH)
}

/// Writes a field whose type has at most `depth` levels.
fn write_field_within(field: &Field, out: &mut Encoder<'_>, depth: u8) -> Result<(), CodecError> {
    out.value(field.name.as_str())?;
    write_type(&field.dtype, out, depth)?;
    // `retain` walks all levels of the type. `write_type` has checked their number.
    categories::retain(field);
    out.value(&field.is_nullable)?;
    let metadata = field.metadata.iter().flat_map(|metadata| metadata.iter());
    let metadata: Vec<(&str, &str)> = metadata.map(|(key, value)| (key.as_str(), value.as_str())).collect();
    out.value(&metadata)
}

pub(super) fn read_field(input: &mut Decoder<'_>) -> Result<Field, CodecError> {
    read_field_within(input, MAX_DEPTH)
}

/// Reads a field whose type has at most `depth` levels.
fn read_field_within(input: &mut Decoder<'_>, depth: u8) -> Result<Field, CodecError> {
    let name: String = input.value()?;
    let dtype = read_type(input, depth)?;
    let nullable = input.value()?;
    let metadata: Vec<(String, String)> = input.value()?;
    let mut field = Field::new(name.into(), dtype, nullable);
    if !metadata.is_empty() {
        let metadata = metadata.into_iter().map(|(key, value)| (key.into(), value.into()));
        field.metadata = Some(Arc::new(metadata.collect::<Metadata>()));
    }
    categories::retain(&field);
    Ok(field)
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

fn number<T: PartialEq>(all: &[T], one: &T) -> Result<u8, CodecError> {
    let place = all.iter().position(|other| other == one).and_then(|place| u8::try_from(place).ok());
    place.ok_or_else(|| CodecError::new("it has a unit or a key that is unknown"))
}

fn write_type(dtype: &Type, out: &mut Encoder<'_>, depth: u8) -> Result<(), CodecError> {
    let depth = deeper(depth)?;
    match dtype {
        Type::Timestamp(unit, zone) => {
            out.tagged(TIMESTAMP, &number(&UNITS, unit)?)?;
            out.value(&zone.as_deref())
        }
        Type::Duration(unit) => out.tagged(DURATION, &number(&UNITS, unit)?),
        Type::Time64(unit) => out.tagged(TIME, &number(&UNITS, unit)?),
        Type::Decimal(precision, scale) => out.tagged(DECIMAL, &(precision, scale)),
        Type::LargeList(inner) => {
            out.value(&LIST)?;
            write_field_within(inner, out, depth)
        }
        Type::FixedSizeList(inner, width) => {
            out.tagged(ARRAY, width)?;
            write_field_within(inner, out, depth)
        }
        Type::Struct(fields) => {
            out.tagged(STRUCT, &fields.len())?;
            fields.iter().try_for_each(|field| write_field_within(field, out, depth))
        }
        Type::Dictionary(key, values, sorted) => {
            out.tagged(DICTIONARY, &(number(&DICTIONARY_KEYS, key)?, sorted))?;
            write_type(values, out, depth)
        }
        Type::Extension(extension) => {
            let metadata = extension.metadata.as_deref();
            out.tagged(EXTENSION, &(extension.name.as_str(), metadata))?;
            write_type(&extension.inner, out, depth)
        }
        plain => match number(&PLAIN, plain) {
            Ok(number) => out.value(&number),
            Err(_) => Err(CodecError::new(format!("a column of type {dtype:?} cannot go to another process"))),
        },
    }
}

fn read_type(input: &mut Decoder<'_>, depth: u8) -> Result<Type, CodecError> {
    let depth = deeper(depth)?;
    let unknown = || CodecError::new("a column of an unknown type");
    let unit = |input: &mut Decoder<'_>| {
        let number: u8 = input.value()?;
        UNITS.get(usize::from(number)).copied().ok_or_else(unknown)
    };
    Ok(match input.value::<u8>()? {
        TIMESTAMP => {
            let unit = unit(input)?;
            let zone: Option<String> = input.value()?;
            Type::Timestamp(unit, zone.map(Into::into))
        }
        DURATION => Type::Duration(unit(input)?),
        TIME => Type::Time64(unit(input)?),
        DECIMAL => {
            let (precision, scale) = input.value()?;
            Type::Decimal(precision, scale)
        }
        LIST => Type::LargeList(Box::new(read_field_within(input, depth)?)),
        ARRAY => {
            let width = input.value()?;
            Type::FixedSizeList(Box::new(read_field_within(input, depth)?), width)
        }
        STRUCT => {
            let count: usize = input.value()?;
            Type::Struct((0..count).map(|_| read_field_within(input, depth)).collect::<Result<_, _>>()?)
        }
        DICTIONARY => {
            let (key, sorted): (u8, bool) = input.value()?;
            let key = DICTIONARY_KEYS.get(usize::from(key)).copied().ok_or_else(unknown)?;
            Type::Dictionary(key, Box::new(read_type(input, depth)?), sorted)
        }
        EXTENSION => {
            let (name, metadata): (String, Option<String>) = input.value()?;
            let inner = read_type(input, depth)?;
            if name == OBJECT {
                return Err(unknown());
            }
            Type::Extension(Box::new(ExtensionType { name: name.into(), inner, metadata: metadata.map(Into::into) }))
        }
        number => PLAIN.get(usize::from(number)).cloned().ok_or_else(unknown)?,
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_type_nested_too_deep_is_not_written() {
        for (levels, crosses) in [(MAX_DEPTH - 1, true), (MAX_DEPTH, false), (u8::MAX, false)] {
            let field = |dtype| Field::new("item".into(), dtype, true);
            let dtype = (0..levels).fold(Type::Int64, |inner, _| Type::LargeList(Box::new(field(inner))));
            let (mut bytes, mut attachments) = (Vec::new(), Vec::new());
            let mut out = Encoder::new(&mut bytes, &mut attachments, None);
            let written = write_field(&field(dtype.clone()), &mut out);
            match written {
                Ok(()) => {
                    let read = read_field(&mut Decoder::new(&bytes, Vec::new())).expect("it was written");
                    assert!(crosses && read.dtype == dtype);
                }
                Err(error) => assert!(!crosses && error.to_string().contains("too deep"), "{levels}: {error}"),
            }
        }
    }
}
