static DISK: fanfold::Pool = fanfold::Pool::io("disk");

#[fanfold::parallel(kind = "io", pool = "DISK")]
fn pool() {}

#[fanfold::parallel(kind = "io", init = "open")]
fn init(#[worker] state: &mut u32) -> u32 {
    *state
}

fn main() {
    pool();
    init();
    let _ = &DISK;
}
