struct Numbers(Vec<u32>);

impl Numbers {
    #[fanfold::parallel(kind = "cpu", chunks = 2)]
    fn doubled(#[chunk] self) -> Vec<u32> {
        self.0.iter().map(|n| n * 2).collect()
    }
}

fn main() {
    Numbers(vec![]).doubled();
}
