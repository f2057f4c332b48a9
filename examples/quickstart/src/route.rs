//! Great circles: distance, bearing and duration of a flight.

/// The Earth's mean radius (6,371.009 km), in statute miles, as the airlines' distances are.
const EARTH_RADIUS_MILES: f64 = 3958.761;

/// Cruising speed through still air, in miles per hour.
const CRUISE_MPH: f64 = 480.0;

/// Taxiing, climb and approach: minutes of a flight beyond its distance.
const GROUND_MINUTES: f64 = 35.0;

/// Wind and heading are recomputed after this many miles.
const LEG_MILES: f64 = 100.0;

/// A point on the Earth, which is modelled as a sphere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Degrees north of the equator.
    pub latitude: f64,
    /// Degrees east of Greenwich.
    pub longitude: f64,
}

/// The class of a flight by its block time; each class has its own aircraft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Haul {
    /// Under an hour and a half.
    Short,
    /// Under four hours.
    Medium,
    /// All longer ones.
    Long,
}

/// The modelled flight between two airports.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Route {
    /// The great-circle distance, in statute miles.
    pub miles: f64,
    /// The heading at departure, in degrees clockwise from north: 0 up to, not including, 360.
    pub bearing: f64,
    /// Estimated time from gate to gate, in minutes.
    pub block_minutes: f64,
    /// The class of that time.
    pub haul: Haul,
}

impl Route {
    /// The great circle from one airport to the other.
    #[must_use]
    pub fn between(from: Point, to: Point) -> Self {
        let block_minutes = block_minutes(from, to);
        Self {
            miles: from.miles_to(to),
            bearing: from.bearing_to(to),
            block_minutes,
            haul: Haul::of_minutes(block_minutes),
        }
    }
}

impl Haul {
    /// The class of a block time in minutes.
    #[must_use]
    pub fn of_minutes(block_minutes: f64) -> Self {
        match block_minutes {
            minutes if minutes < 90.0 => Self::Short,
            minutes if minutes < 240.0 => Self::Medium,
            _ => Self::Long,
        }
    }

    /// The name of the class.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Medium => "medium",
            Self::Long => "long",
        }
    }
}

impl Point {
    /// The great-circle distance in statute miles, by the haversine formula.
    #[must_use]
    pub fn miles_to(self, other: Self) -> f64 {
        let (from, to) = (self.latitude.to_radians(), other.latitude.to_radians());
        let north = ((to - from) / 2.0).sin();
        let east = ((other.longitude - self.longitude).to_radians() / 2.0).sin();
        let haversine = north * north + from.cos() * to.cos() * east * east;
        // Rounding can exceed 1 for opposite points.
        2.0 * EARTH_RADIUS_MILES * haversine.sqrt().min(1.0).asin()
    }

    /// The initial heading of the great circle to `other`: degrees clockwise from north, 0 up to 360.
    #[must_use]
    pub fn bearing_to(self, other: Self) -> f64 {
        let (from, to) = (self.latitude.to_radians(), other.latitude.to_radians());
        let east = (other.longitude - self.longitude).to_radians();
        let x = east.sin() * to.cos();
        let y = from.cos() * to.sin() - from.sin() * to.cos() * east.cos();
        let degrees = x.atan2(y).to_degrees();
        // An angle slightly below 0 would be rounded up to 360.
        if degrees < 0.0 { (degrees + 360.0) % 360.0 } else { degrees }
    }

    /// The point after this many miles along the great circle with this initial heading.
    #[must_use]
    pub fn travel(self, bearing: f64, miles: f64) -> Self {
        let (latitude, heading, angle) = (self.latitude.to_radians(), bearing.to_radians(), miles / EARTH_RADIUS_MILES);
        let sine = latitude.sin() * angle.cos() + latitude.cos() * angle.sin() * heading.cos();
        let x = heading.sin() * angle.sin() * latitude.cos();
        let y = angle.cos() - latitude.sin() * sine;
        let longitude = self.longitude + x.atan2(y).to_degrees();
        Self {
            latitude: sine.clamp(-1.0, 1.0).asin().to_degrees(),
            longitude: (longitude + 540.0).rem_euclid(360.0) - 180.0,
        }
    }
}

/// Estimated minutes from gate to gate: flies the great circle leg by leg, each with its own heading and wind.
///
/// The model is rough, but flights to the west take longer. The number of iterations differs from row to row, which
/// column expressions cannot express.
#[must_use]
pub fn block_minutes(from: Point, to: Point) -> f64 {
    let mut here = from;
    let mut left = from.miles_to(to);
    let mut minutes = GROUND_MINUTES;
    while left > 0.0 {
        let leg = left.min(LEG_MILES);
        let heading = here.bearing_to(to);
        let tailwind = west_wind(here.latitude) * heading.to_radians().sin();
        minutes += 60.0 * leg / (CRUISE_MPH + tailwind);
        here = here.travel(heading, leg);
        left -= leg;
    }
    minutes
}

/// The wind from the west at cruising height, in miles per hour: the jet stream, strongest about 40 degrees north.
fn west_wind(latitude: f64) -> f64 {
    let away = (latitude - 40.0) / 15.0;
    60.0 * (-away * away).exp()
}
