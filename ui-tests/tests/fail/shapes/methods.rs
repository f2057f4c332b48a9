struct Counter(u32);

impl Counter {
    #[fanfold::parallel(kind = "cpu")]
    fn count(&self) -> u32 {
        self.0
    }
}

trait Count {
    #[fanfold::parallel(kind = "cpu")]
    fn all(n: u32) -> u32;
}

fn main() {
    Counter(1).count();
}
