//! Putting chunks of rows together: the schemas are compared first, and only then is anything joined.
//!
//! Polars' own concatenation depends on the order of `Null` columns, and turns decimals of another scale into
//! nulls without a word. Here the target type of each column is declared, or worked out from all chunks; columns that
//! are null throughout take it, and any other difference is an error that names the chunk and the column.

use polars::prelude::*;
use polars_core::utils::accumulate_dataframes_vertical;

use crate::chunks::gather::GatherError;

/// Stacks frames in order, without copying their data.
pub(super) fn stack(parts: Vec<DataFrame>, declared: Option<&Schema>) -> Result<DataFrame, GatherError> {
    stack_of(CHUNKS, parts, declared)
}

/// Stacks the results of groups in order.
pub(super) fn stack_groups(parts: Vec<DataFrame>) -> Result<DataFrame, GatherError> {
    stack_of(GROUPS, parts, None)
}

/// What the first part is called, and all those before another one.
type Words = (&'static str, &'static str);

const CHUNKS: Words = ("chunk 0", "in the chunks before");
const GROUPS: Words = ("the first group", "in the groups before");

fn stack_of(words: Words, mut parts: Vec<DataFrame>, declared: Option<&Schema>) -> Result<DataFrame, GatherError> {
    if declared.is_none()
        && parts.len() == 1
        && let Some(only) = parts.pop()
    {
        return Ok(only);
    }
    let mut shape = match (declared, parts.first()) {
        (Some(schema), _) => Shape::declared(schema),
        (None, Some(first)) => Shape { words, ..Shape::of(first) },
        (None, None) => return Err(GatherError::new(0, "there are no parts to put together")),
    };
    for (chunk, part) in parts.iter().enumerate() {
        shape.admit(part).map_err(|reason| GatherError::new(chunk, reason))?;
    }
    for (chunk, part) in parts.iter_mut().enumerate() {
        shape.fit(part).map_err(|error| GatherError::new(chunk, error.to_string()))?;
    }
    accumulate_dataframes_vertical(parts).map_err(|error| GatherError::new(0, error.to_string()))
}

/// Stacks series in order, without copying their data.
pub(super) fn stack_series(parts: Vec<Series>, declared: Option<&Schema>) -> Result<Series, GatherError> {
    let frames = parts.into_iter().map(Series::into_frame).collect();
    let mut columns = stack(frames, declared)?.into_columns();
    let column = columns.pop().map(Column::take_materialized_series);
    column.ok_or_else(|| GatherError::new(0, "there are no parts to put together"))
}

/// The columns that all chunks must have.
pub(super) struct Shape {
    names: Vec<PlSmallStr>,
    types: Vec<DataType>,
    /// What the parts are called.
    words: Words,
    /// Whether the user said so.
    declared: bool,
    /// Whether null types are no gaps to be filled by later chunks.
    fixed: bool,
}

impl Shape {
    pub(super) fn declared(schema: &Schema) -> Self {
        Self {
            declared: true,
            fixed: true,
            ..Self::of_fields(schema.iter().map(|(name, dtype)| (name.clone(), dtype.clone())))
        }
    }

    pub(super) fn of(frame: &DataFrame) -> Self {
        Self::of_fields(frame.columns().iter().map(|column| (column.name().clone(), column.dtype().clone())))
    }

    fn of_fields(fields: impl Iterator<Item = (PlSmallStr, DataType)>) -> Self {
        let (names, types) = fields.unzip();
        Self { names, types, words: CHUNKS, declared: false, fixed: false }
    }

    /// The columns of a result that was the first, and has been written.
    #[cfg(feature = "polars-lazy")]
    pub(super) fn first(frame: &DataFrame) -> Self {
        Self { fixed: true, ..Self::of(frame) }
    }

    /// Whether a file can hold such columns.
    #[cfg(feature = "polars-lazy")]
    pub(super) fn writable(&self) -> PolarsResult<()> {
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

    /// Compares a chunk with those before; its types fill what was null in them.
    pub(super) fn admit(&mut self, part: &DataFrame) -> Result<(), String> {
        for (position, dtype) in self.check(part)? {
            self.types[position] = dtype;
        }
        Ok(())
    }

    /// Compares a chunk with those before; gives the columns whose type it knows better, and the type.
    pub(super) fn check(&self, part: &DataFrame) -> Result<Vec<(usize, DataType)>, String> {
        let whose = if self.declared { "the declared schema" } else { self.words.0 };
        if part.width() != self.names.len() {
            let columns = if part.width() == 1 { "column" } else { "columns" };
            let found = listed(part.columns().iter().map(Column::name));
            let (width, wanted) = (self.names.len(), listed(self.names.iter()));
            return Err(format!("it has {} {columns} ({found}), and {whose} has {width} ({wanted})", part.width()));
        }
        let mut better = Vec::new();
        for (position, (found, (name, target))) in
            part.columns().iter().zip(self.names.iter().zip(&self.types)).enumerate()
        {
            if found.name() != name {
                let found = found.name();
                return Err(format!("its column {position} is named `{found}`, {whose}'s is `{name}`"));
            }
            if target == found.dtype() {
                continue;
            }
            match merge(target, found.dtype()) {
                Some(merged) if merged == *target => (),
                Some(merged) if !self.fixed => better.push((position, merged)),
                merged => return Err(self.misfit(name, found.dtype(), target, merged.is_some())),
            }
        }
        Ok(better)
    }

    fn misfit(&self, name: &str, found: &DataType, target: &DataType, null: bool) -> String {
        let wanted = if self.declared { "in the declared schema" } else { self.words.1 };
        let hint = if null && !self.declared { ": declare its type by `.schema(..)`" } else { "" };
        if found.to_string() == target.to_string() {
            return format!(
                "its column `{name}` is {found} as {wanted}, but of other categories: make them all from the same \
                 `Categories`"
            );
        }
        format!("its column `{name}` is {found}, and {target} {wanted}{hint}")
    }

    /// Gives columns that are null where others have values the others' type.
    pub(super) fn fit(&self, part: &mut DataFrame) -> PolarsResult<()> {
        for (position, target) in self.types.iter().enumerate() {
            let column = &part.columns()[position];
            if column.dtype() == target {
                continue;
            }
            polars_ensure!(
                !target.contains_objects(),
                InvalidOperation: "its column `{}` is null, which Polars cannot make a column of objects", column.name()
            );
            let fitted = if column.dtype() == &DataType::Null {
                Column::full_null(column.name().clone(), column.len(), target)
            } else {
                column.strict_cast(target)?
            };
            part.replace_column(position, fitted)?;
        }
        Ok(())
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a PlSmallStr>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
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
