//! The direct call of a function that blocks gives its result, not a future.
#[fanfold::parallel(kind = "cpu")]
fn double(n: u32) -> u32 {
    n * 2
}

async fn handler() -> u32 {
    double(4).await
}

fn main() {
    let _ = handler();
}
