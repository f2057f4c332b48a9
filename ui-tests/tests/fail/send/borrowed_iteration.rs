//! A map that is iterated, over items that borrow: it runs beside the caller, so it takes owned items only.
use fanfold::parallel;

#[parallel(kind = "io")]
fn length(url: &str) -> usize {
    url.len()
}

fn main() {
    let urls = vec![String::from("a"), String::from("b")];
    for length in length::map(urls.iter().map(String::as_str)) {
        println!("{length}");
    }
    let total: usize = length::map(urls.iter().map(String::as_str)).collect::<Vec<_>>().into_iter().sum();
    println!("{total}");
}
