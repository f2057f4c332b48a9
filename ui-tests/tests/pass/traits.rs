//! Methods of traits: the direct call alone.
#![forbid(unsafe_code)]
#![deny(unused, clippy::pedantic)]

trait Shape: Sync {
    fn area(&self, scale: u32) -> u32;

    #[fanfold::parallel(kind = "cpu", companion = none)]
    fn doubled(&self) -> u32 {
        2 * self.area(1)
    }
}

struct Square(u32);

impl Shape for Square {
    #[fanfold::parallel(kind = "cpu", companion = none)]
    fn area(&self, scale: u32) -> u32 {
        self.0 * self.0 * scale
    }
}

impl From<u32> for Square {
    #[fanfold::parallel(kind = "io", companion = none)]
    fn from(side: u32) -> Self {
        Self(side)
    }
}

#[test]
fn runs() {
    let shape: Box<dyn Shape> = Box::new(Square::from(2));
    assert_eq!(shape.area(2), 8);
    assert_eq!(shape.doubled(), 8);
}
