#[fanfold::parallel(kind = "cpu")]
fn add(a: u32, b: u32) -> u32 {
    a + b
}

fn main() {
    add(1);
    add(1, "2");
    add::submit(1);
    add::serial("1", 2);
    add::sumbit(1, 2);
}
