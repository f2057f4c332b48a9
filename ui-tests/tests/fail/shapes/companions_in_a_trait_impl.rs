//! Companions in an `impl` of a trait: the error names `companion = none`.
trait Shape {
    fn area(&self) -> f64;
}

struct Square(f64);

impl Shape for Square {
    #[fanfold::parallel(kind = "cpu")]
    fn area(&self) -> f64 {
        self.0 * self.0
    }
}

fn main() {
    Square(1.0).area();
}
