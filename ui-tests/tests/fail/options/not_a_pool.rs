static POOL: u32 = 7;

#[fanfold::parallel(kind = "cpu", pool = POOL)]
fn run() {}

fn main() {}
