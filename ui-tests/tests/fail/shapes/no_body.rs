trait Count {
    #[fanfold::parallel(kind = "cpu")]
    fn all(n: u32) -> u32;
}

fn main() {}
