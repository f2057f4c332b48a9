#[fanfold::parallel(kind = "cpu")]
async fn compute(n: u32) -> u32 {
    n
}

fn main() {
    drop(compute(1));
}
