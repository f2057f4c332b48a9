mod numbers {
    #[fanfold::parallel(kind = "cpu")]
    fn double(n: u32) -> u32 {
        n * 2
    }

    pub fn four() -> u32 {
        double(2)
    }
}

fn main() {
    numbers::four();
    numbers::double(2);
    numbers::double::submit(2);
}
