//! `collect` of a map of async calls waits on its own: `collect_async` is what is awaited.
#[fanfold::parallel(kind = "io")]
async fn fetch(page: u32) -> u32 {
    page
}

async fn all() -> Vec<u32> {
    fetch::map(0..3).collect::<Vec<_>>().await
}

fn main() {
    let _ = all();
}
