//! `&Vec<String>` gives `&String`, and the function takes `&str`.
#[fanfold::parallel(kind = "io")]
fn load(url: &str) -> usize {
    url.len()
}

fn main() {
    let urls = vec!["a".to_owned()];
    let _ = load::map(&urls).collect::<Vec<_>>();
}
