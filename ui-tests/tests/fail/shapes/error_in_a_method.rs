struct Grid(Vec<u32>);

impl Grid {
    #[fanfold::parallel(kind = "cpu")]
    fn total(&self, by: u32) -> u32 {
        let text: String = by;
        self.cells.len()
    }
}

fn main() {
    Grid(vec![]).total(1);
}
