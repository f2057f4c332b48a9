#[fanfold::parallel(kind = "cpu")]
const fn constant() -> u32 {
    1
}

#[fanfold::parallel(kind = "cpu")]
extern "C" fn foreign(n: u32) -> u32 {
    n
}

#[fanfold::parallel(kind = "io")]
async fn later(n: u32) -> u32 {
    n
}

#[fanfold::parallel(kind = "cpu")]
fn unnamed() -> impl Iterator<Item = u32> {
    0..3
}

const ONE: u32 = constant();

fn main() {
    constant();
    foreign(ONE);
    let _ = later(1);
    unnamed();
}
