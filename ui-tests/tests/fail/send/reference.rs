use std::cell::Cell;

#[fanfold::parallel(kind = "cpu")]
fn read(cell: &Cell<u32>) -> u32 {
    cell.get()
}

fn main() {
    read(&Cell::new(1));
}
