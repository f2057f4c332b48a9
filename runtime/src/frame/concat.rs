//! Putting chunks of rows together: the schemas are compared first, and only then is anything joined.
//!
//! Polars' own concatenation depends on the order of `Null` columns, and turns decimals of another scale into
//! nulls without a word. Here the target type of each column is worked out from all chunks, columns that are
//! null throughout take it, and any other difference is an error that names the chunk and the column.

use polars::prelude::*;
use polars_core::utils::accumulate_dataframes_vertical;

use crate::gather::GatherError;

/// Stacks frames in order, without copying their data.
pub(super) fn stack(mut parts: Vec<DataFrame>) -> Result<DataFrame, GatherError> {
    if parts.len() == 1
        && let Some(only) = parts.pop()
    {
        return Ok(only);
    }
    let targets = targets(&parts)?;
    for (chunk, part) in parts.iter_mut().enumerate() {
        fit(part, &targets).map_err(|error| GatherError::new(chunk, error.to_string()))?;
    }
    accumulate_dataframes_vertical(parts).map_err(|error| GatherError::new(0, error.to_string()))
}

/// Stacks series in order, without copying their data.
pub(super) fn stack_series(parts: Vec<Series>) -> Result<Series, GatherError> {
    let frames = parts.into_iter().map(Series::into_frame).collect();
    let mut columns = stack(frames)?.into_columns();
    let column = columns.pop().map(Column::take_materialized_series);
    column.ok_or_else(|| GatherError::new(0, "there are no parts to put together"))
}

/// Each column's type: the first chunk's, with what is null there taken from later ones.
fn targets(parts: &[DataFrame]) -> Result<Vec<DataType>, GatherError> {
    let Some((first, others)) = parts.split_first() else {
        return Err(GatherError::new(0, "there are no parts to put together"));
    };
    let mut targets: Vec<DataType> = first.columns().iter().map(|c| c.dtype().clone()).collect();
    for (index, part) in others.iter().enumerate() {
        let misfit = |reason: String| GatherError::new(index + 1, reason);
        if part.width() != first.width() {
            return Err(misfit(width_differs(first, part)));
        }
        let columns = first.columns().iter().zip(part.columns());
        for (position, ((wanted, found), target)) in columns.zip(&mut targets).enumerate() {
            if wanted.name() != found.name() {
                return Err(misfit(format!(
                    "its column {position} is named `{}`, chunk 0's is `{}`",
                    found.name(),
                    wanted.name()
                )));
            }
            if target != found.dtype() {
                *target = merge(target, found.dtype()).ok_or_else(|| {
                    let (name, other) = (found.name(), found.dtype());
                    if other.to_string() == target.to_string() {
                        return misfit(format!(
                            "its column `{name}` is {other} as in the chunks before, but of other categories: make \
                             them all from the same `Categories`"
                        ));
                    }
                    misfit(format!("its column `{name}` is {other}, and {target} in the chunks before"))
                })?;
            }
        }
    }
    Ok(targets)
}

fn width_differs(first: &DataFrame, part: &DataFrame) -> String {
    let names = |frame: &DataFrame| {
        let names: Vec<_> = frame.columns().iter().map(|c| format!("`{}`", c.name())).collect();
        names.join(", ")
    };
    let columns = if part.width() == 1 { "column" } else { "columns" };
    format!("it has {} {columns} ({}), and chunk 0 has {} ({})", part.width(), names(part), first.width(), names(first))
}

/// The one type of two that differ in nulls alone.
fn merge(one: &DataType, other: &DataType) -> Option<DataType> {
    match (one, other) {
        (DataType::Null, known) | (known, DataType::Null) => Some(known.clone()),
        (DataType::List(one), DataType::List(other)) => Some(DataType::List(Box::new(merge(one, other)?))),
        (DataType::Array(one, width), DataType::Array(other, width_too)) if width == width_too => {
            Some(DataType::Array(Box::new(merge(one, other)?), *width))
        }
        (DataType::Struct(one), DataType::Struct(other)) if one.len() == other.len() => {
            let fields = one.iter().zip(other).map(|(one, other)| {
                let same_name = one.name() == other.name();
                let dtype = merge(one.dtype(), other.dtype()).filter(|_| same_name)?;
                Some(Field::new(one.name().clone(), dtype))
            });
            Some(DataType::Struct(fields.collect::<Option<_>>()?))
        }
        _ => (one == other).then(|| one.clone()),
    }
}

/// Gives columns that are null where others have values the others' type.
fn fit(part: &mut DataFrame, targets: &[DataType]) -> PolarsResult<()> {
    for (position, target) in targets.iter().enumerate() {
        let column = &part.columns()[position];
        if column.dtype() == target {
            continue;
        }
        let fitted = if column.dtype() == &DataType::Null {
            Column::full_null(column.name().clone(), column.len(), target)
        } else {
            column.strict_cast(target)?
        };
        part.replace_column(position, fitted)?;
    }
    Ok(())
}
