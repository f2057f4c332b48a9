//! A method whose result borrows from its receiver has no `submit`.
struct Counter(u32);

impl Counter {
    #[fanfold::parallel(kind = "cpu")]
    fn bump(&mut self) {
        self.0 += 1;
    }

    #[fanfold::parallel(kind = "cpu")]
    fn value(&self) -> &u32 {
        &self.0
    }
}

fn main() {
    let mut counter = Counter(0);
    counter.bump_submit();
    std::sync::Arc::new(counter).value_submit();
}
