#[fanfold::parallel(kind = "io", pool = DISK)]
fn read() {}

fn main() {
    read();
}
