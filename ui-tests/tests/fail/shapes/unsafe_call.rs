#[fanfold::parallel(kind = "cpu")]
unsafe fn read(at: usize) -> u8 {
    unsafe { *(at as *const u8) }
}

fn main() {
    read(1);
    read::submit(1);
    read::serial(1);
}
