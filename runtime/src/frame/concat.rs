//! Stacking of frames and series: compares the columns of all parts, fills in null types, and concatenates.
//!
//! The result of Polars' own concatenation depends on the order of `Null` columns, and decimals of another scale become
//! nulls silently. Here the type of each column is declared, or derived from all parts. Columns of type `Null` are cast
//! to it, and any other difference is an error that names the chunk and the column.

use polars::prelude::*;
use polars_core::utils::accumulate_dataframes_vertical;

use crate::chunks::gather::GatherError;

/// Stacks the results of chunks in order, without a copy of their values.
pub(super) fn stack(parts: Vec<DataFrame>, declared: Option<&Schema>) -> Result<DataFrame, GatherError> {
    stack_parts(CHUNKS, parts, declared)
}

/// Stacks the results of groups in order.
pub(super) fn stack_groups(parts: Vec<DataFrame>) -> Result<DataFrame, GatherError> {
    stack_parts(GROUPS, parts, None)
}

/// The names of the parts in errors.
struct PartNames {
    /// The first part.
    first: &'static str,
    /// The parts before the one that differs.
    before: &'static str,
}

const CHUNKS: &PartNames = &PartNames { first: "chunk 0", before: "in the chunks before" };
const GROUPS: &PartNames = &PartNames { first: "the first group", before: "in the groups before" };

fn stack_parts(
    part_names: &'static PartNames,
    mut parts: Vec<DataFrame>,
    declared: Option<&Schema>,
) -> Result<DataFrame, GatherError> {
    if declared.is_none()
        && parts.len() == 1
        && let Some(only) = parts.pop()
    {
        return Ok(only);
    }
    let mut expected = match (declared, parts.first()) {
        (Some(schema), _) => ExpectedColumns::declared(schema),
        (None, Some(first)) => ExpectedColumns { part_names, ..ExpectedColumns::from_frame(first) },
        (None, None) => return Err(GatherError::new(0, "there are no parts to put together")),
    };
    for (chunk, part) in parts.iter().enumerate() {
        expected.merge_types(part).map_err(|reason| GatherError::new(chunk, reason))?;
    }
    for (chunk, part) in parts.iter_mut().enumerate() {
        expected.fill_nulls(part).map_err(|error| GatherError::new(chunk, error.to_string()))?;
    }
    accumulate_dataframes_vertical(parts).map_err(|error| GatherError::new(0, error.to_string()))
}

/// Stacks series in order, without a copy of their values.
pub(super) fn stack_series(parts: Vec<Series>, declared: Option<&Schema>) -> Result<Series, GatherError> {
    let frames = parts.into_iter().map(Series::into_frame).collect();
    let mut columns = stack(frames, declared)?.into_columns();
    let column = columns.pop().map(Column::take_materialized_series);
    column.ok_or_else(|| GatherError::new(0, "there are no parts to put together"))
}

/// The columns that all parts must have.
pub(super) struct ExpectedColumns {
    names: Vec<PlSmallStr>,
    types: Vec<DataType>,
    part_names: &'static PartNames,
    /// Whether the user has declared them.
    is_declared: bool,
    /// Whether the types are final. Otherwise a `Null` type takes the type of a later part.
    is_fixed: bool,
}

impl ExpectedColumns {
    pub(super) fn declared(schema: &Schema) -> Self {
        Self {
            is_declared: true,
            is_fixed: true,
            ..Self::from_fields(schema.iter().map(|(name, dtype)| (name.clone(), dtype.clone())))
        }
    }

    pub(super) fn from_frame(frame: &DataFrame) -> Self {
        Self::from_fields(frame.columns().iter().map(|column| (column.name().clone(), column.dtype().clone())))
    }

    fn from_fields(fields: impl Iterator<Item = (PlSmallStr, DataType)>) -> Self {
        let (names, types) = fields.unzip();
        Self { names, types, part_names: CHUNKS, is_declared: false, is_fixed: false }
    }

    /// The columns of a file that is begun with this frame.
    #[cfg(feature = "polars-lazy")]
    pub(super) fn from_written(frame: &DataFrame) -> Self {
        Self { is_fixed: true, ..Self::from_frame(frame) }
    }

    /// Fails if a file cannot hold these columns.
    #[cfg(feature = "polars-lazy")]
    pub(super) fn check_writable(&self) -> PolarsResult<()> {
        let objects = self.types.iter().position(DataType::contains_objects).map(|position| &self.names[position]);
        match objects {
            Some(name) => {
                polars_bail!(InvalidOperation: "the column `{name}` holds objects, which no file can: drop it")
            }
            None => Ok(()),
        }
    }

    #[cfg(feature = "polars-lazy")]
    pub(super) fn schema(&self) -> Schema {
        self.names.iter().cloned().zip(self.types.iter().cloned()).collect()
    }

    /// Compares a part with those before it, and replaces `Null` types by its types.
    pub(super) fn merge_types(&mut self, part: &DataFrame) -> Result<(), String> {
        for (position, dtype) in self.check(part)? {
            self.types[position] = dtype;
        }
        Ok(())
    }

    /// Compares a part with those before it. Returns the columns whose `Null` types it replaces, with the new types.
    pub(super) fn check(&self, part: &DataFrame) -> Result<Vec<(usize, DataType)>, String> {
        let expected_by = if self.is_declared { "the declared schema" } else { self.part_names.first };
        if part.width() != self.names.len() {
            let columns = if part.width() == 1 { "column" } else { "columns" };
            let found = name_list(part.columns().iter().map(Column::name));
            let (width, wanted) = (self.names.len(), name_list(self.names.iter()));
            return Err(format!(
                "it has {} {columns} ({found}), and {expected_by} has {width} ({wanted})",
                part.width()
            ));
        }
        let mut refined = Vec::new();
        for (position, (found, (name, target))) in
            part.columns().iter().zip(self.names.iter().zip(&self.types)).enumerate()
        {
            if found.name() != name {
                let found = found.name();
                return Err(format!("its column {position} is named `{found}`, {expected_by}'s is `{name}`"));
            }
            if target == found.dtype() {
                continue;
            }
            match merge_null_types(target, found.dtype()) {
                Some(merged) if merged == *target => (),
                Some(merged) if !self.is_fixed => refined.push((position, merged)),
                merged => return Err(self.type_mismatch(name, found.dtype(), target, merged.is_some())),
            }
        }
        Ok(refined)
    }

    fn type_mismatch(&self, name: &str, found: &DataType, target: &DataType, is_null: bool) -> String {
        let wanted = if self.is_declared { "in the declared schema" } else { self.part_names.before };
        let hint = if is_null && !self.is_declared { ": declare its type by `.schema(..)`" } else { "" };
        if found.to_string() == target.to_string() {
            return format!(
                "its column `{name}` is {found} as {wanted}, but of other categories: make them all from the same \
                 `Categories`"
            );
        }
        format!("its column `{name}` is {found}, and {target} {wanted}{hint}")
    }

    /// Casts columns of type `Null` to the expected types.
    pub(super) fn fill_nulls(&self, part: &mut DataFrame) -> PolarsResult<()> {
        for (position, target) in self.types.iter().enumerate() {
            let column = &part.columns()[position];
            if column.dtype() == target {
                continue;
            }
            polars_ensure!(
                !target.contains_objects(),
                InvalidOperation: "its column `{}` is null, which Polars cannot make a column of objects", column.name()
            );
            let filled = if column.dtype() == &DataType::Null {
                Column::full_null(column.name().clone(), column.len(), target)
            } else {
                column.strict_cast(target)?
            };
            part.replace_column(position, filled)?;
        }
        Ok(())
    }
}

fn name_list<'a>(names: impl Iterator<Item = &'a PlSmallStr>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The common type of two types that differ only in `Null` parts.
fn merge_null_types(one: &DataType, other: &DataType) -> Option<DataType> {
    match (one, other) {
        (DataType::Null, known) | (known, DataType::Null) => Some(known.clone()),
        (DataType::List(one), DataType::List(other)) => Some(DataType::List(Box::new(merge_null_types(one, other)?))),
        (DataType::Array(one, width), DataType::Array(other, width_too)) if width == width_too => {
            Some(DataType::Array(Box::new(merge_null_types(one, other)?), *width))
        }
        (DataType::Struct(one), DataType::Struct(other)) if one.len() == other.len() => {
            let fields = one.iter().zip(other).map(|(one, other)| {
                let same_name = one.name() == other.name();
                let dtype = merge_null_types(one.dtype(), other.dtype()).filter(|_| same_name)?;
                Some(Field::new(one.name().clone(), dtype))
            });
            Some(DataType::Struct(fields.collect::<Option<_>>()?))
        }
        _ => (one == other).then(|| one.clone()),
    }
}
