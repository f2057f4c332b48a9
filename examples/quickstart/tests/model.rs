//! Checks the model against known values.

use fanfold_quickstart::data;
use fanfold_quickstart::delay::{cost, hour};
use fanfold_quickstart::route::{Haul, Point, Route, block_minutes};

const JFK: Point = Point { latitude: 40.63975, longitude: -73.77893 };
const LAX: Point = Point { latitude: 33.94254, longitude: -118.40807 };

#[track_caller]
fn near(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{found} is not {expected} +- {tolerance}");
}

#[test]
fn new_york_to_los_angeles() {
    // On the ellipsoid the distance is 2,475 miles; a sphere differs by half a percent at most.
    near(JFK.miles_to(LAX), 2_475.0, 7.0);
    near(LAX.miles_to(JFK), JFK.miles_to(LAX), 1e-9);
    near(JFK.bearing_to(LAX), 274.0, 0.5);
    near(LAX.bearing_to(JFK), 66.0, 0.5);
}

#[test]
fn quarters_of_the_globe() {
    let origin = Point { latitude: 0.0, longitude: 0.0 };
    let at = |latitude, longitude| Point { latitude, longitude };
    let quarter = 3_958.761 * std::f64::consts::FRAC_PI_2;
    for (to, bearing) in [(at(90.0, 0.0), 0.0), (at(0.0, 90.0), 90.0), (at(-90.0, 0.0), 180.0), (at(0.0, -90.0), 270.0)]
    {
        near(origin.miles_to(to), quarter, 1e-6);
        near(origin.bearing_to(to), bearing, 1e-9);
    }
    near(origin.miles_to(at(0.0, 180.0)), 2.0 * quarter, 1e-6);
    near(origin.miles_to(origin), 0.0, 0.0);
}

#[test]
fn bearings_slightly_west_of_north_are_below_360() {
    let south = Point { latitude: 10.0, longitude: 20.0 };
    for west in [1e-3, 1e-9, 1e-13, 1e-15, 0.0] {
        let bearing = south.bearing_to(Point { latitude: 50.0, longitude: 20.0 - west });
        assert!((0.0..360.0).contains(&bearing), "{bearing}");
    }
}

#[test]
fn travelling_the_distance_arrives() {
    let arrived = JFK.travel(JFK.bearing_to(LAX), JFK.miles_to(LAX));
    near(arrived.latitude, LAX.latitude, 1e-9);
    near(arrived.longitude, LAX.longitude, 1e-9);
    // Over the date line, from Guam to Honolulu.
    let (guam, honolulu) =
        (Point { latitude: 13.48, longitude: 144.80 }, Point { latitude: 21.32, longitude: -157.92 });
    let arrived = guam.travel(guam.bearing_to(honolulu), guam.miles_to(honolulu));
    near(arrived.longitude, honolulu.longitude, 1e-9);
}

#[test]
fn the_jet_stream_makes_the_way_west_longer() {
    let (west, east) = (block_minutes(JFK, LAX), block_minutes(LAX, JFK));
    // Airlines plan about 6 h 15 min and 5 h 25 min.
    near(west, 375.0, 20.0);
    near(east, 325.0, 20.0);
    // Due north there is no wind: 35 minutes, and the distance at 480 miles per hour.
    let (south, north) = (Point { latitude: 30.0, longitude: -90.0 }, Point { latitude: 45.0, longitude: -90.0 });
    near(block_minutes(south, north), 35.0 + south.miles_to(north) / 8.0, 1e-6);
    near(block_minutes(JFK, JFK), 35.0, 0.0);
}

#[test]
fn hauls_start_at_their_limits() {
    assert_eq!(
        [0.0, 89.9, 90.0, 239.9, 240.0].map(|minutes| Haul::of_minutes(minutes).name()),
        ["short", "short", "medium", "medium", "long"]
    );
    assert_eq!(Route::between(JFK, LAX).haul, Haul::Long);
}

#[test]
fn delays_are_priced_by_bracket() {
    let daytime = |late| cost(late, Haul::Medium, 12);
    near(daytime(-20), 0.0, 0.0);
    near(daytime(0), 0.0, 0.0);
    near(daytime(10), 200.0, 1e-9);
    near(daytime(15), 300.0, 1e-9);
    near(daytime(60), 300.0 + 45.0 * 60.0, 1e-9);
    near(daytime(180), 3_000.0 + 120.0 * 100.0, 1e-9);
    near(daytime(200), 15_000.0 + 20.0 * 140.0, 1e-9);
    assert!(daytime(i64::MAX).is_finite());
    near(daytime(i64::MIN), 0.0, 0.0);
}

#[test]
fn size_and_evening_add_to_the_price() {
    near(cost(60, Haul::Short, 12), 1_800.0, 1e-9);
    near(cost(60, Haul::Long, 12), 5_100.0, 1e-9);
    near(cost(119, Haul::Medium, 19), cost(119, Haul::Medium, 18), 0.0);
    near(cost(120, Haul::Medium, 18), 9_000.0, 1e-9);
    near(cost(120, Haul::Medium, 19), 17_000.0, 1e-9);
}

#[test]
fn hours_of_the_day_are_right_before_1970() {
    let one = 3_600_000_000;
    assert_eq!([0, one - 1, one, 25 * one, -1, -24 * one].map(hour), [0, 0, 1, 1, 23, 0]);
    assert!((0..24).contains(&hour(i64::MIN)) && (0..24).contains(&hour(i64::MAX)));
}

#[test]
fn the_model_agrees_with_the_reported_distances() {
    let flights = data::flights(&data::bundled("flights-200k.parquet")).expect("it comes with the examples");
    let airports = data::airports(&data::bundled("airports.csv")).expect("it comes with the examples");
    assert_eq!((flights.height(), airports.len()), (200_000, 3_376));
    let text = |name| flights.column(name).expect("a flights column").str().expect("text");
    let reported = flights.column("distance").expect("a flights column").i64().expect("whole numbers");
    let pairs = text("origin").iter().zip(text("destination").iter()).zip(reported.iter());
    let mut off: Vec<f64> = pairs
        .step_by(97)
        .map(|((origin, destination), reported)| {
            let route =
                airports.route(origin.expect("no nulls"), destination.expect("no nulls")).expect("known airports");
            let reported = u32::try_from(reported.expect("no nulls")).expect("a distance in miles");
            (route.miles - f64::from(reported)).abs()
        })
        .collect();
    off.sort_by(f64::total_cmp);
    assert!(off[off.len() / 2] < 2.0, "median: off by {} miles", off[off.len() / 2]);
}
