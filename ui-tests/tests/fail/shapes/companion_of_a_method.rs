struct Circle(f64);

impl Circle {
    #[fanfold::parallel(kind = "cpu", companion = Area)]
    fn area(&self) -> f64 {
        self.0 * self.0 * 3.14
    }

    #[fanfold::parallel(kind = "cpu", companion = self)]
    fn width(&self) -> f64 {
        self.0 * 2.0
    }

    #[fanfold::parallel(kind = "cpu", companion = "none")]
    fn radius(&self) -> f64 {
        self.0
    }
}

fn main() {
    let circle = Circle(1.0);
    circle.area();
    circle.width();
    circle.radius();
}
