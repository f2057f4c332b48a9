//! [`TimeOverlap`] and [`TimeSpan`]: the rows before a chunk that are at most some time older than its first row.

use std::sync::Arc;

use polars::prelude::*;

use super::error::FrameError;

/// The units of a duration, with their lengths in nanoseconds.
const UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
    ("w", 604_800_000_000_000),
];

/// A duration of an overlap, in nanoseconds; or the text that is none.
#[derive(Clone, Debug)]
pub(super) struct TimeSpan(Result<i64, String>);

/// An overlap by the times in a column.
#[derive(Clone, Debug)]
pub(super) struct TimeOverlap {
    /// The column, or the error that there is none.
    column: Result<Column, Arc<PolarsError>>,
    span: TimeSpan,
}

/// The times of all rows, ascending.
pub(super) struct TimeIndex {
    times: Int64Chunked,
    /// The duration in the unit of the times, rounded up.
    span: i64,
}

impl TimeOverlap {
    pub(super) fn new(column: PolarsResult<Column>, duration: &str) -> Self {
        Self { column: column.map_err(Arc::new), span: TimeSpan::new(duration) }
    }

    /// Checks the column and the duration.
    pub(super) fn index(&self) -> Result<TimeIndex, FrameError> {
        let column = self.column.as_ref().map_err(|error| FrameError::Polars(error.wrap_msg(str::to_owned)))?;
        self.span.index(column).map_err(FrameError::Polars)
    }
}

impl TimeSpan {
    pub(super) fn new(duration: &str) -> Self {
        Self(parse_duration(duration).ok_or_else(|| duration.to_owned()))
    }

    /// The times in a column. Checks the column and the duration.
    pub(super) fn index(&self, column: &Column) -> PolarsResult<TimeIndex> {
        let name = column.name();
        let span_ns = *self.0.as_ref().map_err(|text| {
            polars_err!(
                InvalidOperation: "`{text}` is no duration: write `90s`, `1h30m` or `2d`, in units ns, us, ms, s, m, h, d, w"
            )
        })?;
        let unit_ns = match column.dtype() {
            DataType::Datetime(TimeUnit::Milliseconds, _) | DataType::Duration(TimeUnit::Milliseconds) => 1_000_000,
            DataType::Datetime(TimeUnit::Microseconds, _) | DataType::Duration(TimeUnit::Microseconds) => 1_000,
            DataType::Datetime(TimeUnit::Nanoseconds, _)
            | DataType::Duration(TimeUnit::Nanoseconds)
            | DataType::Time => 1,
            DataType::Date => 86_400_000_000_000,
            other => polars_bail!(
                InvalidOperation: "the column `{name}` is {other}, and an overlap by time needs dates, datetimes, times or \
                                   durations: cast it"
            ),
        };
        polars_ensure!(
            column.null_count() == 0,
            InvalidOperation: "the column `{name}` has nulls, which are at no time: drop these rows"
        );
        let times = column.as_materialized_series().to_physical_repr().cast(&DataType::Int64)?;
        let times = times.i64()?.rechunk().into_owned();
        if !times.cont_slice()?.is_sorted() {
            return Err(not_in_order(name));
        }
        Ok(TimeIndex { times, span: span_ns / unit_ns + i64::from(span_ns % unit_ns > 0) })
    }
}

/// The error of rows that are not in the order of their times.
pub(super) fn not_in_order(column: &str) -> PolarsError {
    polars_err!(
        InvalidOperation: "the rows are not in the order of `{column}`, as an overlap by time needs: sort them by it"
    )
}

impl TimeIndex {
    fn times(&self) -> &[i64] {
        self.times.cont_slice().unwrap_or_default()
    }

    /// The first and the last time, if there are rows.
    #[cfg(feature = "polars-lazy")]
    pub(super) fn bounds(&self) -> Option<(i64, i64)> {
        self.times().first().copied().zip(self.times().last().copied())
    }

    /// The first row that is at most the duration before `time`.
    pub(super) fn first_seen_at(&self, time: i64) -> usize {
        let earliest = time.saturating_sub(self.span);
        self.times().partition_point(|time| *time < earliest)
    }

    /// The first row that is at most the duration before `row`.
    pub(super) fn first_visible(&self, row: usize) -> usize {
        self.times().get(row).map_or(row, |time| self.first_seen_at(*time))
    }
}

/// The nanoseconds of a duration such as `1h30m`: numbers with units.
fn parse_duration(text: &str) -> Option<i64> {
    let (mut rest, mut total) = (text, None);
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit())?;
        let (number, behind) = rest.split_at(digits);
        let unit_len = behind.find(|character: char| character.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit_len);
        let (_, length) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
        let part = number.parse::<i64>().ok()?.checked_mul(length)?;
        total = Some(total.unwrap_or(0_i64).checked_add(part)?);
        rest = behind;
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        assert_eq!(parse_duration("1h"), Some(3_600_000_000_000));
        assert_eq!(parse_duration("1h30m"), Some(5_400_000_000_000));
        assert_eq!(parse_duration("0s"), Some(0));
        for text in ["", "h", "1", "1 h", "-1h", "1mo", "1y", "1.5h", "99999999999w", "1h30"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
