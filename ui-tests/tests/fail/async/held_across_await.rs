use std::rc::Rc;

#[fanfold::parallel(kind = "io")]
async fn page(number: u32) -> u32 {
    let shared = Rc::new(number);
    std::future::ready(()).await;
    *shared
}

fn main() {
    drop(page(1));
}
