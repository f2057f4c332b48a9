//! An associated function that names neither `self` nor `Self` needs `companion = Self`.
struct Circle;

impl Circle {
    #[fanfold::parallel(kind = "cpu")]
    fn area(radius: f64) -> f64 {
        radius * radius * 3.14
    }
}

fn main() {
    Circle::area(1.0);
}
