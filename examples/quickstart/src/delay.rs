//! The cost of a delayed flight for its airline.
//!
//! The figures are made up for this example, of the order of the 100 dollars a minute that airlines publish.

use crate::route::Haul;

/// Brackets: an upper limit in minutes, and the cost of each minute in dollars; the last bracket has no limit.
const BRACKETS: [(i64, f64); 4] = [(15, 20.0), (60, 60.0), (180, 100.0), (i64::MAX, 140.0)];

/// Flights planned for this hour or later are the last of the day.
const EVENING_HOUR: i64 = 19;

/// An evening flight this many minutes late leaves its passengers in a hotel.
const STRANDED_AFTER: i64 = 120;

/// Hotels and new tickets for a middle-sized aircraft, in dollars.
const STRANDED_DOLLARS: f64 = 8_000.0;

/// The cost of a flight's delay in dollars; early flights cost nothing.
///
/// As with income tax, a bracket's price applies only to the minutes within that bracket. `hour` is the hour of
/// the day, 0 to 23.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "no flight is late by 2^53 minutes")]
pub fn cost(minutes_late: i64, haul: Haul, hour: i64) -> f64 {
    let mut dollars = 0.0;
    let mut from = 0;
    for (to, per_minute) in BRACKETS {
        if minutes_late <= from {
            break;
        }
        dollars += (minutes_late.min(to) - from) as f64 * per_minute;
        from = to;
    }
    if hour >= EVENING_HOUR && minutes_late >= STRANDED_AFTER {
        dollars += STRANDED_DOLLARS;
    }
    dollars * aircraft_size(haul)
}

/// The hour of the day, 0 to 23, of a time in microseconds since 1970.
#[must_use]
pub fn hour(micros: i64) -> i64 {
    micros.div_euclid(3_600_000_000).rem_euclid(24)
}

/// The size of the aircraft, relative to a medium-haul one.
fn aircraft_size(haul: Haul) -> f64 {
    match haul {
        Haul::Short => 0.6,
        Haul::Medium => 1.0,
        Haul::Long => 1.7,
    }
}
