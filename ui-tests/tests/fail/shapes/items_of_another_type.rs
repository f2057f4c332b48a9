#[fanfold::parallel(kind = "cpu")]
fn double(n: u32) -> u32 {
    n * 2
}

fn main() {
    let _ = double::map(vec!["one", "two"]).collect::<Vec<_>>();
}
