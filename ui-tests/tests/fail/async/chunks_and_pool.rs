static DISK: fanfold::Pool = fanfold::Pool::io("disk");

#[fanfold::parallel(kind = "io", chunks = 2)]
async fn cut(pages: Vec<u32>) -> Vec<u32> {
    pages
}

#[fanfold::parallel(kind = "io", pool = DISK)]
async fn pooled(page: u32) -> u32 {
    page
}

fn main() {
    drop(cut(vec![]));
    drop(pooled(1));
    let _ = &DISK;
}
