#[derive(Clone)]
struct Numbers(Vec<u32>);

impl Numbers {
    #[fanfold::parallel(kind = "cpu", chunks = 2)]
    fn doubled(self) -> Vec<u32> {
        self.0.iter().map(|n| n * 2).collect()
    }

    #[fanfold::parallel(kind = "cpu", chunks = 2)]
    fn extended(&mut self, more: Vec<u32>) -> Vec<u32> {
        self.0.extend(&more);
        more
    }
}

fn main() {
    let mut numbers = Numbers(vec![]);
    numbers.extended(vec![]);
    numbers.doubled();
}
