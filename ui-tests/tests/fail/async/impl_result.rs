#[fanfold::parallel(kind = "io")]
async fn pages(limit: u32) -> impl Iterator<Item = u32> {
    0..limit
}

fn main() {
    drop(pages(1));
}
