use std::cell::Cell;

struct Counter(Cell<u32>);

impl Counter {
    #[fanfold::parallel(kind = "cpu")]
    fn add(&self, n: u32) -> u32 {
        self.0.get() + n
    }
}

fn main() {
    Counter(Cell::new(1)).add(1);
}
