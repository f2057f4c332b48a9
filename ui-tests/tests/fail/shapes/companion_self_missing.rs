//! Nothing shows that this stands in an `impl` block: `companion = Self` would say so.
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
